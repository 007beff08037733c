"""A decorator for the pages that people see in a browser."""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

TIME_ZONE_COOKIE = "timezone"

Response = TypeVar("Response", bound=HttpResponseBase)


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
