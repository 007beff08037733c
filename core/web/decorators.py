"""A decorator for the pages that people see in a browser."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import TypeVar
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.exceptions import Throttled

from core.database.time_limit import TooSlow
from core.rest.permissions import RETRY_AFTER, begin_at_once

TIME_ZONE_COOKIE = "timezone"

Response = TypeVar("Response", bound=HttpResponseBase)


View = Callable[..., HttpResponseBase]


def at_once(kind: str, parameter: str = "") -> Callable[[View], View]:
    """A view that counts as one of AT_ONCE, if the query has this parameter or none is named."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            try:
                if not parameter or request.GET.get(parameter, "").strip():
                    begin_at_once(kind, request.user.pk or 0)
                return view(request, *args, **kwargs)
            except (Throttled, TooSlow) as error:
                busy = HTTPStatus.TOO_MANY_REQUESTS if isinstance(error, Throttled) else HTTPStatus.SERVICE_UNAVAILABLE
                response = HttpResponse(str(error), status=busy, content_type="text/plain; charset=utf-8")
                response["Retry-After"] = str(RETRY_AFTER)
                return response

        return wrapper

    return decorate


def page(view: Callable[..., Response]) -> Callable[..., Response]:
    """A view for people who are signed in, in their time zone. Shared caches do not store its response."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: object, **kwargs: object) -> Response:
        try:
            time_zone = ZoneInfo(request.COOKIES.get(TIME_ZONE_COOKIE, "UTC"))  # the browser's
        except (KeyError, ValueError, OSError):  # unknown, not a file name, or a folder of zones
            time_zone = ZoneInfo("UTC")
        with timezone.override(time_zone):
            response = view(request, *args, **kwargs)
        response.setdefault("Cache-Control", "private, no-cache")
        return response

    return login_required(wrapper)
