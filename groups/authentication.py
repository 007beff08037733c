"""The one place that turns headers into a user."""

from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.cache import cache
from django.utils import timezone
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from groups.models import ApiToken, User

WRONG_TOKENS = 300  # of one address, in a minute
MINUTE = 60  # seconds

_last_uses: dict[int, datetime] = {}  # of tokens, by key: not stored yet


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer <token>`, or the token alone, as clients that follow the contract send it."""

    def authenticate(self, request: Request) -> tuple[User, int] | None:
        if "Authorization" not in request.headers:
            return None
        words = request.headers["Authorization"].split()
        key = words[-1] if len(words) == 1 or (len(words) == 2 and words[0].lower() == "bearer") else ""
        user = ApiToken.user_of(key) if key else None
        if user is None:
            # slow down guessing; a valid token is never refused because of wrong ones from the same address
            counter = f"wrong-tokens:{request.META.get('REMOTE_ADDR')}"
            cache.add(counter, 0, MINUTE)
            try:
                count = cache.incr(counter)
            except ValueError:  # it expired in between
                count = 1
            if count > WRONG_TOKENS:
                raise Throttled(
                    MINUTE, f"More than {WRONG_TOKENS} wrong tokens came from this address within a minute."
                )
            raise AuthenticationFailed("The token is unknown, expired or revoked, or its user is not active.")
        _last_uses[user.token_id] = timezone.now()
        return user, user.token_id

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="AI Studio"'


class SessionAuthentication(authentication.SessionAuthentication):
    """Django's session, with CSRF; ignored if there is an `Authorization` header."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, None] | None:
        return None if "Authorization" in request.headers else super().authenticate(request)

    def enforce_csrf(self, request: Any) -> None:
        super().enforce_csrf(request._request)  # DRF's own request would parse the body to look for a form's token


def store_last_uses() -> None:
    """Store when tokens were used since the last call. The process does it from time to time, outside of requests."""
    for pk, moment in list(_last_uses.items()):
        ApiToken.objects.filter(pk=pk).update(last_used_at=moment)
        if _last_uses.get(pk) == moment:  # else it was used again meanwhile
            del _last_uses[pk]
