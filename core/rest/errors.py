"""Errors as the API answers them: one shape, one list of codes, one handler.

`errors[]` has `status`, `code` (a key of TITLES, for programs), `title` (the same for each code), `detail` (this case,
for people) and `source` (`pointer` into the body or query `parameter`) where there is one.
"""

import logging
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import DisallowedHost, PermissionDenied
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response

from core.server.middleware import current_request_id

log = logging.getLogger(__name__)

TITLES = {
    # 400: the body
    "malformed": "Malformed body",
    "required": "Missing value",
    "null": "Null is not allowed",
    "blank": "Empty value",
    "invalid": "Invalid value",
    "invalid_choice": "Not one of the choices",
    "max_length": "Too long",
    "min_value": "Too small",
    "max_value": "Too large",
    "unique": "Already taken",
    "does_not_exist": "No such resource",
    "unknown_attribute": "Unknown attribute",
    "read_only": "Set by the server",
    # 400: the query
    "invalid_parameter": "Invalid parameter",
    "unknown_parameter": "Unknown query parameter",
    # the rest
    "unknown_host": "Unknown host",
    "not_authenticated": "Not signed in",
    "authentication_failed": "Credentials refused",
    "permission_denied": "Not allowed",
    "not_found": "Not found",
    "method_not_allowed": "Method not allowed",
    "not_acceptable": "Media type not available",
    "conflict": "Conflict",
    "idempotency_key_reused": "Idempotency-Key of another request",
    "precondition_failed": "Changed meanwhile",
    "payload_too_large": "Body too large",
    "head_too_large": "Head too large",
    "request_timeout": "Request too slow",
    "unsupported_media_type": "Media type not supported",
    "vendor_failed": "The vendor does not give it",
    "throttled": "Too many requests",
    "error": "Internal error",
    "unavailable": "Temporarily unavailable",
}
SYNONYMS = {
    "parse_error": "malformed",
    "not_a_list": "invalid",
    "incorrect_type": "invalid",
    "null_characters_not_allowed": "invalid",
    "surrogate_characters_not_allowed": "invalid",
}
RETRY_AFTER = "5"  # seconds
UNKNOWN_HOST = "This is no host of AI Studio's. An administrator can add it to ALLOWED_HOSTS."


class InvalidParameter(exceptions.APIException):
    """A query parameter that cannot be used; `unknown` when there is none of that name."""

    status_code = HTTPStatus.BAD_REQUEST

    def __init__(self, parameter: str, detail: str, *, unknown: bool = False) -> None:
        super().__init__(detail, "unknown_parameter" if unknown else "invalid_parameter")
        self.parameter = parameter


class Conflict(exceptions.APIException):
    """409: the request is right by itself, but not in the present state."""

    status_code = HTTPStatus.CONFLICT
    default_code = "conflict"

    def __init__(self, detail: str, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.pointer = pointer


class PreconditionFailed(exceptions.APIException):
    """412: the resource is not the one that `If-Match` names."""

    status_code = HTTPStatus.PRECONDITION_FAILED
    default_code = "precondition_failed"


class VendorFailed(exceptions.APIException):
    """What a vendor was to give, it did not: neither the request nor this server is at fault."""

    status_code = HTTPStatus.FAILED_DEPENDENCY
    default_code = "vendor_failed"


class PayloadTooLarge(exceptions.APIException):
    """413: the body is larger than MAX_BODY_SIZE."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "payload_too_large"


class Unavailable(exceptions.APIException):
    """503: the same request may succeed later."""

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_code = "unavailable"
    default_detail = (
        "The database cannot be used now, or did not answer in time; try again in a moment. Of a change, look first "
        "whether it was made, unless it has an Idempotency-Key."
    )


_http_errors: dict[type[Exception], type[exceptions.APIException]] = {}


def register_errors(table: Mapping[type[Exception], type[exceptions.APIException]]) -> None:
    """Say how the API answers exceptions of the apps. Their arguments become those of the API's exceptions."""
    _http_errors.update(table)


def http_error(exc: Exception) -> exceptions.APIException | None:
    """The API's exception for an exception of an app; None if its class is not registered."""
    kind = _http_errors.get(type(exc))
    return kind(*exc.args) if kind else None


def error_object(status: int, code: str | None, detail: str, source: dict[str, str] | None = None) -> dict[str, Any]:
    """One member of `errors`, as JSON:API has it."""
    code = SYNONYMS.get(code or "", code)
    code = code if code in TITLES else "invalid"
    error = {"status": str(int(status)), "code": code, "title": TITLES[code], "detail": printable(detail)}
    return {**error, "source": source} if source else error


def printable(text: str) -> str:
    """The text as it can be written: what a client sent may hold lone surrogates."""
    return str(text).encode("utf-8", "backslashreplace").decode()


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER: the answer to an exception, or None, which makes it a 500."""
    match exc:
        case Http404():
            exc = exceptions.NotFound()
        case PermissionDenied():
            exc = exceptions.PermissionDenied()
        case OverflowError() | DataError():
            exc = exceptions.ValidationError("A number or text is outside what can be stored.")
        case OperationalError() | InterfaceError():
            log.warning("database: %s", exc)
            exc = Unavailable()
        case _:
            exc = http_error(exc) or exc
    if not isinstance(exc, exceptions.APIException):
        return None
    if isinstance(exc, exceptions.ValidationError):
        errors = [
            error_object(exc.status_code, detail.code, detail, {"pointer": name if name.startswith("/") else "/data"})
            for name, detail in field_errors(exc.detail)
        ]
    else:
        source = None
        if isinstance(exc, InvalidParameter):
            source = {"parameter": printable(exc.parameter)}
        elif isinstance(exc, Conflict) and exc.pointer:
            source = {"pointer": exc.pointer}
        errors = [error_object(exc.status_code, str(exc.get_codes()), str(exc.detail), source)]
    response = Response({"errors": errors}, status=exc.status_code)
    if challenge := getattr(exc, "auth_header", None):
        response["WWW-Authenticate"] = challenge
    if (wait := getattr(exc, "wait", None)) is not None:
        response["Retry-After"] = str(max(1, round(wait)))
    if exc.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = RETRY_AFTER
    return response


def field_errors(detail: Any, name: str = "") -> Iterator[tuple[str, exceptions.ErrorDetail]]:
    """Each error of a ValidationError with the name of its field."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            yield from field_errors(value, name or str(key))
    elif isinstance(detail, list):
        for item in detail:
            yield from field_errors(item, name)
    else:
        yield name, detail


def page_for(status: HTTPStatus, code: str, detail: str) -> Any:
    """A view for what fails before or outside DRF: JSON below /api/, Django's page elsewhere."""
    page = {400: defaults.bad_request, 403: defaults.permission_denied, 404: defaults.page_not_found}.get(status)

    def view(request: HttpRequest, exception: Exception | None = None) -> Any:
        if not request.path.startswith("/api/"):
            return page(request, exception) if page and exception else defaults.server_error(request)
        words = detail.format(path=printable(request.path), request_id=current_request_id.get())
        error = error_object(status, code, words)
        if isinstance(exception, DisallowedHost):
            error = error_object(status, "unknown_host", UNKNOWN_HOST)
        return JsonResponse({"errors": [error]}, status=status)

    return view


bad_request = page_for(HTTPStatus.BAD_REQUEST, "malformed", "The request cannot be understood.")
permission_denied = page_for(HTTPStatus.FORBIDDEN, "permission_denied", "You may not do this.")
not_found = page_for(HTTPStatus.NOT_FOUND, "not_found", "There is nothing at {path}. /api/v1/docs lists what there is.")
internal_error = page_for(
    HTTPStatus.INTERNAL_SERVER_ERROR, "error", "Something failed on the server. Its log has more, under {request_id}."
)


def server_error(request: HttpRequest) -> Any:
    """The view for an exception outside DRF, sorted as `exception_handler` does. Django calls it in its handler."""
    match exc := sys.exc_info()[1]:
        case OverflowError() | DataError():
            return bad_request(request, exc)
        case OperationalError() | InterfaceError():
            log.warning("database: %s", exc)
            response: HttpResponse
            if request.path.startswith("/api/"):
                error = error_object(Unavailable.status_code, Unavailable.default_code, Unavailable.default_detail)
                response = JsonResponse({"errors": [error]}, status=Unavailable.status_code)
            else:  # without the request, because context processors may need the database
                response = HttpResponse(render_to_string("503.html"), status=Unavailable.status_code)
            response["Retry-After"] = RETRY_AFTER
            return response
    return internal_error(request)
