"""Traces through OpenTelemetry. Loaded only if the endpoint is set and OpenTelemetry's packages are installed.

Names are those of the semantic conventions for HTTP and for generative AI (status: development). A span holds neither
text nor secrets: of an error only the code, of a URL neither query nor user.
"""

import os
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

from django.conf import settings
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from core.telemetry.hooks import CallCounts, Instrumentation, RequestRecord, VendorCallRecord

PROVIDERS = {"google_ai": "gcp.gemini"}  # the convention's names, if they differ from ours
OPTIONS = ("temperature", "max_tokens", "top_p", "top_k", "seed")  # `gen_ai.request.`: not stop_words, which are texts


class Traces(Instrumentation):
    def __init__(self) -> None:
        os.environ.setdefault("OTEL_SERVICE_NAME", "aistudio")
        self.provider = TracerProvider(resource=Resource.create({"service.version": settings.VERSION}))
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer = self.provider.get_tracer("aistudio", settings.VERSION)
        self.propagator = TraceContextTextMapPropagator()

    def request_begins(self, request: RequestRecord, headers: Mapping[bytes, bytes]) -> None:
        given = {name: headers.get(name.encode(), b"").decode("latin1") for name in ("traceparent", "tracestate")}
        request.span = self.tracer.start_span(
            request.method,
            context=self.propagator.extract({name: value for name, value in given.items() if value}),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": request.method,
                "url.path": request.path,
                "url.scheme": request.scheme,
                "client.address": request.address,
                "aistudio.request_id": request.id,
            },
        )

    def request_ended(self, request: RequestRecord, seconds: float) -> None:
        span = request.span
        if span is None:
            return
        if request.route:
            span.update_name(f"{request.method} {request.route}")
            span.set_attribute("http.route", request.route)
        span.set_attribute("http.response.status_code", request.status)
        if request.status >= 500:
            span.set_attribute("error.type", str(request.status))
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def call_begins(self, call: VendorCallRecord) -> None:
        endpoint = urlsplit(call.endpoint)
        operation = "list_models" if call.kind == "models" else "chat"
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": PROVIDERS.get(call.vendor, call.vendor),
            "gen_ai.request.model": call.model or None,
            "gen_ai.request.stream": True if operation == "chat" else None,
            "gen_ai.conversation.id": call.conversation or None,
            "aistudio.call.kind": call.kind,
            **{f"gen_ai.request.{name}": call.options[name] for name in OPTIONS if name in call.options},
            "server.address": endpoint.hostname,
            "server.port": endpoint.port or {"https": 443, "http": 80}.get(endpoint.scheme),
        }
        asked_in = call.request.span if call.request else None
        call.span = self.tracer.start_span(
            f"{operation} {call.model}".strip(),
            context=set_span_in_context(asked_in) if asked_in else None,
            kind=SpanKind.CLIENT,
            attributes=without_none(attributes),
        )
        self.propagator.inject(call.headers, set_span_in_context(call.span))

    def call_ended(self, call: VendorCallRecord, result: CallCounts) -> None:
        if call.span is None:
            return
        status = "failed" if result.error_code else "complete" if result.finish_reason else "stopped"
        first = result.time_to_first_token_ms
        attributes = {
            "gen_ai.response.finish_reasons": [result.finish_reason] if result.finish_reason else None,
            "gen_ai.usage.output_tokens": result.output_tokens,
            "gen_ai.usage.input_tokens": result.input_tokens,
            "gen_ai.usage.cache_read.input_tokens": result.cached_tokens,
            "aistudio.usage.estimated": result.estimated,
            "aistudio.status": status if call.kind != "models" else None,
            "error.type": result.error_code or None,
            "gen_ai.response.time_to_first_chunk": None if first is None else first / 1000,
        }
        call.span.set_attributes(without_none(attributes))
        if result.error_code:
            call.span.set_status(Status(StatusCode.ERROR, result.error_code))
        call.span.end()

    def close(self) -> None:
        """Send what is left."""
        self.provider.shutdown()


def without_none(attributes: Mapping[str, object]) -> dict[str, AttributeValue]:
    """OpenTelemetry refuses attributes without a value."""
    return {name: cast(AttributeValue, value) for name, value in attributes.items() if value is not None}
