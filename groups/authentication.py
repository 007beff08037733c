"""The one place that turns headers into a user."""

from datetime import datetime
from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, close_old_connections
from django.utils import timezone
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from core.server.responses import Scope
from groups.models import ApiToken, User

WRONG_TOKENS = 300  # of one address, in a minute
MINUTE = 60  # seconds

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
