"""The one place that turns headers into an identity."""

from typing import Any

from django.core.cache import cache
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from groups import token_last_used
from groups.models import ApiToken, User

WRONG_TOKENS = 300  # of one address, in a minute
MINUTE = 60  # seconds


class TokenAuthentication(authentication.BaseAuthentication):
    """`Authorization: Bearer <token>`, or the token alone, as clients made from the contract send it."""

    def authenticate(self, request: Request) -> tuple[User, int] | None:
        if "Authorization" not in request.headers:
            return None
        user = user_of(request.headers["Authorization"])
        if user is None:
            self.count_failure(request)
            raise AuthenticationFailed("The token is unknown, expired or revoked, or its user is not active.")
        return user, user.token_id

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="AI Studio"'

    @staticmethod
    def count_failure(request: Request) -> None:
        """Slow down guessing: a right token is never refused for the wrong ones of others at its address."""
        counter = f"wrong-tokens:{request.META.get('REMOTE_ADDR')}"
        if count(counter, MINUTE) > WRONG_TOKENS:
            raise Throttled(MINUTE, f"More than {WRONG_TOKENS} wrong tokens came from this address within a minute.")


def user_of(authorization: str) -> User | None:
    """Who the token of an `Authorization` header stands for; None where there is none that may be used."""
    words = authorization.split()
    key = words[-1] if len(words) == 1 or (len(words) == 2 and words[0].lower() == "bearer") else ""
    user = ApiToken.user_of(key) if key else None
    if user:
        token_last_used.note(user.token_id)
    return user


class SessionAuthentication(authentication.SessionAuthentication):
    """Django's session, with CSRF; only where no `Authorization` header decides."""

    def authenticate(self, request: Request) -> Any:
        return None if "Authorization" in request.headers else super().authenticate(request)

    def enforce_csrf(self, request: Any) -> None:
        super().enforce_csrf(request._request)  # DRF's own request would parse the body to look for a form's token


def count(counter: str, seconds: int) -> int:
    """Count one more, in this process; returns how many there were within so many seconds of the first."""
    cache.add(counter, 0, seconds)
    try:
        return cache.incr(counter)
    except ValueError:  # it expired in between
        return 1
