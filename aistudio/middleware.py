"""What surrounds every request."""

import logging
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

GetResponse = Callable[[HttpRequest], HttpResponse]

current_request_id: ContextVar[str] = ContextVar("current_request_id", default="-")


def request_id(get_response: GetResponse) -> GetResponse:
    """Give each request an id that its answer (`X-Request-ID`) and its log lines carry."""

    def middleware(request: HttpRequest) -> HttpResponse:
        current_request_id.set(uuid.uuid4().hex)
        response = get_response(request)
        response["X-Request-ID"] = current_request_id.get()
        return response

    return middleware


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_request_id.get()
        return True
