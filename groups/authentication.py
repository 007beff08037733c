"""The one place that turns headers into a user."""

from collections.abc import Collection
from datetime import datetime, timedelta
from io import BytesIO
from math import ceil
from time import monotonic
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, get_user
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, close_old_connections
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from core.server.responses import Reader, Scope
from groups.attempts import count_attempt, network_of
from groups.models import ApiToken, User

WRONG_TOKENS = 300  # of one address, in a minute
MINUTE = timedelta(minutes=1)

_last_uses: dict[int, datetime] = {}  # of tokens, by key: not stored yet


def token_in(header: str) -> str:
    """The token of an `Authorization` header; empty if it is of another form."""
    words = header.split()
    return words[-1] if len(words) == 1 or (len(words) == 2 and words[0].lower() == "bearer") else ""


def may_send_body(scope: Scope) -> bool:
    """Whether a request has a valid token, or a session. Its view authenticates it later, and counts what is wrong."""
    try:
        request = ASGIRequest(scope, BytesIO())
        if "Authorization" in request.headers:
            key = token_in(request.headers["Authorization"])
            return bool(key) and ApiToken.user_of(key) is not None
        request.session = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
        return get_user(request).is_authenticated
    except (UnicodeDecodeError, DatabaseError):  # of the query: the request is refused in another place
        return True
    finally:
        close_old_connections()


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer <token>`, or the token alone, as clients that follow the contract send it."""

    def authenticate(self, request: Request) -> tuple[User, int] | None:
        if "Authorization" not in request.headers:
            return None
        key = token_in(request.headers["Authorization"])
        user = ApiToken.user_of(key) if key else None
        if user is None:
            # slow down guessing; a valid token is never refused because of wrong ones from the same address
            counter = f"tokens:{network_of(request._request)}"
            refused_until = cache.get(counter, 0.0)  # beyond the limit, the database is not asked any more
            if monotonic() >= refused_until:
                count, wait = count_attempt(counter, MINUTE)
                if count > WRONG_TOKENS:
                    refused_until = monotonic() + wait
                    cache.set(counter, refused_until, wait)
            if (left := refused_until - monotonic()) > 0:
                text = f"More than {WRONG_TOKENS} wrong tokens came from this address within a minute."
                raise Throttled(ceil(left), text)
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


def find_signed_out(readers: Collection[Reader]) -> set[Reader]:
    """The readers whose token was revoked or is over, whose browser was signed out, or whose password was changed.

    Those whose user was deactivated or deleted are not among them: what they read ends with a reason.
    """
    users = User.objects.filter(
        is_active=True, pk__in={reader.user_id for reader in readers if reader.user_id}
    ).in_bulk()
    tokens = ApiToken.objects.usable().filter(pk__in={reader.token_id for reader in readers if reader.token_id})
    usable = set(tokens.values_list("pk", flat=True))
    keys = {reader.session_key for reader in readers} - {None}
    sessions = Session.objects.filter(pk__in=keys, expire_date__gt=timezone.now()).in_bulk() if keys else {}
    ended = set()
    for reader in readers:
        user, session = users.get(reader.user_id or 0), sessions.get(reader.session_key or "")
        known = str(session.get_decoded().get(HASH_SESSION_KEY, "")) if session else ""
        if user and reader.token_id not in usable and not constant_time_compare(known, user.get_session_auth_hash()):
            ended.add(reader)
    return ended


def store_last_uses() -> None:
    """Store when tokens were used since the last call. The process does it from time to time, outside of requests."""
    for pk, moment in list(_last_uses.items()):
        ApiToken.objects.filter(pk=pk).update(last_used_at=moment)
        if _last_uses.get(pk) == moment:  # else it was used again meanwhile
            del _last_uses[pk]
