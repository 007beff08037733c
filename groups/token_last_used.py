"""When tokens were last used: noted in memory during requests, stored from time to time by the process."""

from datetime import datetime

from django.utils import timezone

from groups.models import ApiToken

_noted: dict[int, datetime] = {}


def note_use(token_id: int) -> None:
    _noted[token_id] = timezone.now()


def store_uses() -> None:
    """Store what was noted since the last call."""
    for pk, moment in list(_noted.items()):
        ApiToken.objects.filter(pk=pk).update(last_used_at=moment)
        if _noted.get(pk) == moment:  # else it was used again meanwhile
            del _noted[pk]
