"""Middleware of every request."""

import logging
from collections.abc import Callable
from contextvars import ContextVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from core.telemetry.hooks import current_request, request_id_from
from core.web.bidi import IN_UTF_8, show_bidi_in_page

GetResponse = Callable[[HttpRequest], HttpResponse]

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="-")
current_http_request: ContextVar[HttpRequest | None] = ContextVar("current_http_request", default=None)


def request_id(get_response: GetResponse) -> GetResponse:
    """Give each request an id, its caller's if it has one, that its response (`X-Request-ID`) and log lines carry."""

    def middleware(request: HttpRequest) -> HttpResponse:
        record = current_request.get()
        current_request_id.set(record.id if record else request_id_from(request.headers.get("X-Request-ID")))
        response = get_response(request)
        response["X-Request-ID"] = current_request_id.get()
        if record:
            if request.resolver_match:
                record.route = f"/{request.resolver_match.route}"
            user = request.__dict__.get("user")  # set by Django's middleware; HttpRequest itself has no `user`
            if not isinstance(user, SimpleLazyObject):  # token authentication or sign-in has set it
                record.user_id = user.pk if user else None
        return response

    return middleware


def remember_request(get_response: GetResponse) -> GetResponse:
    """Keep the request as `current_http_request` until its response, so that the audit can name who acts.

    The response sets the cookies, if any, that a function put into the request's `late_cookies`.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        token = current_http_request.set(request)
        try:
            response = get_response(request)
        finally:
            current_http_request.reset(token)
        for name, cookie in getattr(request, "late_cookies", {}).items():
            response.set_cookie(name, **cookie, secure=settings.SESSION_COOKIE_SECURE, httponly=True, samesite="Lax")
        return response

    return middleware


# Our own pages load only files of this server; `frame-ancestors` and the rest keep other sites out.
STRICT = {"default-src": "'self'", "img-src": "'self' data:", "object-src": "'none'", "base-uri": "'none'"}
STRICT |= {"form-action": "'self'", "frame-ancestors": "'none'"}
UNUSED_FEATURES = (
    *("accelerometer", "camera", "display-capture", "encrypted-media", "geolocation", "gyroscope", "magnetometer"),
    *(
        "microphone",
        "midi",
        "payment",
        "publickey-credentials-get",
        "screen-wake-lock",
        "serial",
        "usb",
        "xr-spatial-tracking",
    ),
)
NO_FEATURES = ", ".join(f"{feature}=()" for feature in UNUSED_FEATURES)
LENIENT = {  # pages of packages below these paths need more; docs/deploy.md says why
    "/admin/": {"script-src": "'self' 'unsafe-eval'", "style-src": "'self' 'unsafe-inline'"},
    "/api/v1/docs": {"style-src": "'self' 'unsafe-inline'"},
}


def content_security_policy(get_response: GetResponse) -> GetResponse:
    """Tell the browser what an HTML page may load and run: nothing inline, nothing of another host; and no devices."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            more = next((policy for path, policy in LENIENT.items() if request.path.startswith(path)), {})
            directives = {**STRICT, **more}.items()
            response.setdefault("Permissions-Policy", NO_FEATURES)
            response.setdefault("Content-Security-Policy", "; ".join(f"{name} {value}" for name, value in directives))
        return response

    return middleware


def visible_bidi(get_response: GetResponse) -> GetResponse:
    """Show characters that change the direction of a text as such, in every page."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        is_page = response.get("Content-Type", "").startswith("text/html") and not response.streaming
        if is_page and IN_UTF_8.search(response.content):
            response.content = show_bidi_in_page(response.content)
            response["Content-Length"] = str(len(response.content))
        return response

    return middleware


class RequestIdFilter(logging.Filter):
    """Gives each record of the log its request's id."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_request_id.get()
        return True
