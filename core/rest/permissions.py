"""Who may call what, by the names of permissions, and how much of it at once.

Which rows callers then find is `visible_to` of each queryset.
"""

from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING

from django.conf import settings
from rest_framework.exceptions import NotAuthenticated, Throttled
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from core.telemetry.hooks import current_request

if TYPE_CHECKING:
    from core.rest.views import ResourceView


AT_ONCE = {  # what one person may have running in this process, by setting
    "streams": "MAX_STREAMS_PER_PERSON",
    "searches": "MAX_SEARCHES_PER_PERSON",
    "exports": "MAX_EXPORTS_PER_PERSON",
}
RETRY_AFTER = 2  # seconds
TOO_MUCH = "You have {} {} open, which is the most at once."

_running: Counter[tuple[str, int]] = Counter()  # by kind and person
_running_lock = Lock()


def begin_at_once(kind: str, user_id: int) -> None:
    """Count that this person begins one more of a kind of AT_ONCE. It counts until the request has ended.

    Raises Throttled. In a process that is no server, nothing runs at once, and nothing is counted.
    """
    if (record := current_request.get()) is None:
        return
    key, most = (kind, user_id), getattr(settings, AT_ONCE[kind])
    with _running_lock:
        if _running[key] >= most:
            raise Throttled(RETRY_AFTER, TOO_MUCH.format(most, kind))
        _running[key] += 1

    def end() -> None:
        with _running_lock:
            _running[key] -= 1
            if not _running[key]:
                del _running[key]

    record.at_end.append(end)


class AtOnce(BaseThrottle):
    """Limits what a person has running at once: event streams, and searches in lists."""

    def allow_request(self, request: Request, view: "ResourceView") -> bool:  # type: ignore[override]
        if request.accepted_renderer.format == "events":
            begin_at_once("streams", request.user.pk or 0)
        elif view.action == "list" and request.query_params.get("search"):
            begin_at_once("searches", request.user.pk or 0)
        return True


class NamedPermissions(BasePermission):
    """Asks `user.may` for what the view declares; an empty name stands for everyone who is signed in.

    `access_permission` is needed for everything. `read_permission` and `change_permission` are needed beside it; who
    lacks one gets 404 for a resource that they cannot see, and 403 otherwise.
    """

    message = "Only administrators may do this."

    def has_permission(self, request: Request, view: "ResourceView") -> bool:  # type: ignore[override]
        user = request.user
        if not user.is_authenticated:
            raise NotAuthenticated("Send a token in Authorization: Bearer <token>, or sign in.")
        if view.access_permission and not user.may(view.access_permission):
            return False
        needed = view.read_permission if request.method in SAFE_METHODS else view.change_permission
        if not needed or user.may(needed):
            return True
        if view.detail:
            view.get_object()  # 404, not 403, for what the caller cannot see
        return False
