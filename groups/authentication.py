"""The one place that turns headers into a user."""

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.cache import cache
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from groups import token_last_used
from groups.models import ApiToken, User

WRONG_TOKENS = 300  # of one address, in a minute
MINUTE = 60  # seconds


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer <token>`, or the token alone, as clients that follow the contract send it."""

    def authenticate(self, request: Request) -> tuple[User, int] | None:
        if "Authorization" not in request.headers:
            return None
        user = find_token_user(request.headers["Authorization"])
        if user is None:
            self.count_failure(request)
            raise AuthenticationFailed("The token is unknown, expired or revoked, or its user is not active.")
        return user, user.token_id

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="AI Studio"'

    @staticmethod
    def count_failure(request: Request) -> None:
        """Slow down guessing. A valid token is never refused because of wrong ones from the same address."""
        counter = f"wrong-tokens:{request.META.get('REMOTE_ADDR')}"
        if count_within(counter, MINUTE) > WRONG_TOKENS:
            raise Throttled(MINUTE, f"More than {WRONG_TOKENS} wrong tokens came from this address within a minute.")


def find_token_user(authorization: str) -> User | None:
    """The user of the token in an `Authorization` header; None if the token cannot be used."""
    words = authorization.split()
    key = words[-1] if len(words) == 1 or (len(words) == 2 and words[0].lower() == "bearer") else ""
    user = ApiToken.user_of(key) if key else None
    if user:
        token_last_used.note_use(user.token_id)
    return user


class SessionAuthentication(authentication.SessionAuthentication):
    """Django's session, with CSRF; ignored if there is an `Authorization` header."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, None] | None:
        return None if "Authorization" in request.headers else super().authenticate(request)

    def enforce_csrf(self, request: Any) -> None:
        super().enforce_csrf(request._request)  # DRF's own request would parse the body to look for a form's token


def count_within(counter: str, seconds: int) -> int:
    """Count one more, in this process; returns how many there were since the first, which counts for `seconds`."""
    cache.add(counter, 0, seconds)
    try:
        return cache.incr(counter)
    except ValueError:  # it expired in between
        return 1
