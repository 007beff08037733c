"""What surrounds every request."""

import logging
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from core.telemetry.hooks import RequestRecord, current_request, valid_id

GetResponse = Callable[[HttpRequest], HttpResponse]

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="-")


def request_id(get_response: GetResponse) -> GetResponse:
    """Give each request an id, its caller's if it has one, that its answer (`X-Request-ID`) and its log lines carry."""

    def middleware(request: HttpRequest) -> HttpResponse:
        seen = current_request.get()
        current_request_id.set(seen.id if seen else valid_id(request.headers.get("X-Request-ID")))
        response = get_response(request)
        response["X-Request-ID"] = current_request_id.get()
        if seen:
            note(seen, request)
        return response

    return middleware


def note(seen: RequestRecord, request: HttpRequest) -> None:
    """Which URL it was, and who asked, if that had to be found out: it asks no database."""
    if request.resolver_match:
        seen.route = f"/{request.resolver_match.route}"
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = request.__dict__.get("_cached_user")
    seen.user_id = user.pk if user else None


# Our own pages run and show only what this server sends as a file; `frame-ancestors` and the rest keep others out.
STRICT = {"default-src": "'self'", "img-src": "'self' data:", "object-src": "'none'", "base-uri": "'none'"}
STRICT |= {"form-action": "'self'", "frame-ancestors": "'none'"}
LENIENT = {  # what pages that are not ours need besides, below these paths
    "/admin/": {"script-src": "'self' 'unsafe-inline' 'unsafe-eval'", "style-src": "'self' 'unsafe-inline'"},
    "/api/v1/docs": {"style-src": "'self' 'unsafe-inline'"},
}


def content_security_policy(get_response: GetResponse) -> GetResponse:
    """Tell the browser what an HTML page may load and run: nothing inline and nothing of another host."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if response.get("Content-Type", "").startswith("text/html"):
            more = next((policy for path, policy in LENIENT.items() if request.path.startswith(path)), {})
            directives = {**STRICT, **more}.items()
            response.setdefault("Content-Security-Policy", "; ".join(f"{name} {value}" for name, value in directives))
        return response

    return middleware


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_request_id.get()
        return True
