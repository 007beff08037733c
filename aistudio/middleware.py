"""What surrounds every request."""

import logging
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_only_middleware

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


@sync_only_middleware
def one_thread(get_response: GetResponse) -> GetResponse:
    """Do nothing, synchronously: with this one last, Django runs the whole chain in one hop to a thread."""
    return get_response


class RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_request_id.get()
        return True
