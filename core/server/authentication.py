"""Django's authentication middleware, which notes who asks."""

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from core.telemetry.hooks import current_request


class RecordedAuthenticationMiddleware(AuthenticationMiddleware):
    """Notes in the request's record who a session's user is, once a view reads `request.user`.

    So the log can name the user without asking the database.
    """

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        session_user = request.user

        def record_user() -> AbstractBaseUser | AnonymousUser:
            if record := current_request.get():
                record.user_id = session_user.pk
            return session_user

        request.user = SimpleLazyObject(record_user)  # type: ignore[assignment]
