"""What the pages for people share."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

TIME_ZONE_COOKIE = "timezone"


def page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view for those who are signed in, in their time zone; what it answers is kept by nobody else."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        with timezone.override(time_zone_of(request)):
            response = view(request, *args, **kwargs)
        response.setdefault("Cache-Control", "private, no-cache")
        return response

    return login_required(wrapper)


def time_zone_of(request: HttpRequest) -> ZoneInfo:
    """That of the browser, which says it in a cookie; UTC where it says nothing that is one."""
    try:
        return ZoneInfo(request.COOKIES.get(TIME_ZONE_COOKIE, "UTC"))
    except (KeyError, ValueError, OSError):  # unknown, no name of a file, a folder of zones
        return ZoneInfo("UTC")
