"""Which media type a request has, and which one its answer gets."""

from collections.abc import Iterable, Sequence

from django.http.request import MediaType
from rest_framework.exceptions import NotAcceptable, UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

LONGEST_ACCEPT = 2_000  # characters; nobody needs as many
JSON_API = "application/vnd.api+json"


def media_type(header: str) -> str | None:
    """The bare media type of a header's value; None for JSON:API with a parameter that it does not define.

    `profile` may be ignored and `ext` may not: this server knows no extension (JSON:API 1.1, "Content Negotiation").
    """
    parsed = MediaType(header)
    bare = f"{parsed.main_type}/{parsed.sub_type}".lower()
    return None if bare == JSON_API and parsed.range_params.keys() - {"profile"} else bare


def elements(header: str) -> list[str]:
    """The elements of a header that is a list. Empty ones count for nothing (RFC 9110, 5.6.1)."""
    return [element for each in header.split(",") if (element := each.strip())]


class ContentNegotiation(BaseContentNegotiation):
    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        if any(coding.lower() != "identity" for coding in elements(request.headers.get("Content-Encoding", ""))):
            detail = "A body must come as it is, without a Content-Encoding. Send it uncompressed."
            raise UnsupportedMediaType(request.content_type, detail)
        wanted = media_type(request.content_type or "")
        by_type = {str(parser.media_type): parser for parser in parsers}
        if wanted not in by_type:
            given = f"is {request.content_type[:200]}" if request.content_type else "has no media type"
            detail = f"The body {given}. Send {' or '.join(by_type)} as its Content-Type, without parameters."
            raise UnsupportedMediaType(request.content_type, detail)
        return by_type[wanted]

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """The renderer that `Accept` prefers, or names most precisely; among equals that of the body's media type."""
        of_body = media_type(request.content_type or "")
        accept = request.headers.get("Accept", "")[:LONGEST_ACCEPT]
        accepted = [MediaType(token) for token in elements(accept) or ["*/*"]]
        ranked = []
        for renderer in sorted(renderers, key=lambda renderer: renderer.media_type != of_body):
            names = (renderer.media_type, f"{renderer.media_type.partition('/')[0]}/*")
            matches = [item for item in accepted if item.main_type == "*" or media_type(str(item)) in names]
            best = max(matches, key=lambda item: item.specificity, default=None)
            if best and best.quality:
                ranked.append(((best.quality, best.specificity), renderer))
        if not ranked:
            raise NotAcceptable(f"Available are {' and '.join(renderer.media_type for renderer in renderers)}.")
        renderer = max(ranked, key=lambda pair: pair[0])[1]  # the first of equals
        return renderer, renderer.media_type
