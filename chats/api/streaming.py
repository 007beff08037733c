"""What views have in common that can answer with server-sent events."""

from django.http.response import HttpResponseBase
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.renderers import BaseRenderer

from core.rest.parsers import Document
from core.rest.permissions import AtOnce
from core.rest.renderers import FlatRenderer
from core.rest.sse import MEDIA_TYPE
from core.rest.views import ResourceView


class EventStreamRenderer(BaseRenderer):
    """Stands for `text/event-stream` in content negotiation. Errors before the stream are JSON."""

    media_type = MEDIA_TYPE
    format = "events"


class StreamingView(ResourceView):
    """A view with actions that can answer with server-sent events."""

    throttle_classes = (AtOnce,)

    def get_renderers(self) -> list[BaseRenderer]:
        has_operation = hasattr(self, self.action or "")  # not for OPTIONS, nor for an unknown method
        events = [EventStreamRenderer()] if has_operation and self.operation.streams else []
        return [*super().get_renderers(), *events]

    def refuse_content(self) -> None:
        """Refuse a body with members, because the action would ignore them."""
        if self.request._request.body.strip() in (b"", b"{}"):
            return
        document = self.request.data
        assert isinstance(document, Document)
        errors = dict(document.problems)
        errors |= {
            document.pointers[name]: ErrorDetail(f"{self.action} takes no {name}.", "unknown_attribute")
            for name in document
        }
        if errors:
            raise ValidationError(errors)

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        """The response to an error is JSON, also where events were asked for."""
        request = self.request
        if isinstance(getattr(request, "accepted_renderer", None), EventStreamRenderer):  # none, if no media type fits
            request.accepted_renderer, request.accepted_media_type = FlatRenderer(), FlatRenderer.media_type
        return super().handle_exception(exc)
