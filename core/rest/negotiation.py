"""Which media type a request is in, and which one its answer gets."""

from typing import Any

from django.http.request import MediaType
from rest_framework.exceptions import NotAcceptable, UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation

LONGEST_ACCEPT = 2_000  # characters, of which nobody needs as many
JSON_API = "application/vnd.api+json"


def media_type(header: str) -> str | None:
    """The bare media type of a header's value; None for JSON:API with a parameter it does not define.

    `profile` may be ignored and `ext` may not: no extension is spoken here (JSON:API 1.1, "Content Negotiation").
    """
    parsed = MediaType(header)
    bare = f"{parsed.main_type}/{parsed.sub_type}".lower()
    return None if bare == JSON_API and parsed.range_params.keys() - {"profile"} else bare


class ContentNegotiation(BaseContentNegotiation):
    def select_parser(self, request: Any, parsers: Any) -> Any:
        if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise UnsupportedMediaType(request.content_type, "A body must come as it is, without a Content-Encoding.")
        wanted = media_type(request.content_type or "")
        return next((parser for parser in parsers if parser.media_type == wanted), None)

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        """The renderer that `Accept` prefers, or names most precisely; that of the body's media type among equals."""
        spoken = media_type(request.content_type or "")
        offered = sorted(renderers, key=lambda renderer: renderer.media_type != spoken)
        accepted = [MediaType(token) for token in (request.headers.get("Accept") or "*/*")[:LONGEST_ACCEPT].split(",")]
        ranked = []
        for renderer in offered:
            fitting = [item for item in accepted if self.fits(renderer.media_type, item)]
            best = max(fitting, key=lambda item: item.specificity, default=None)
            if best and best.quality:
                ranked.append(((best.quality, best.specificity), renderer))
        if not ranked:
            raise NotAcceptable(f"Available are {' and '.join(renderer.media_type for renderer in renderers)}.")
        renderer = max(ranked, key=lambda pair: pair[0])[1]  # the first of equals
        return renderer, renderer.media_type

    @staticmethod
    def fits(offered: str, accepted: MediaType) -> bool:
        main_type = offered.partition("/")[0]
        if accepted.main_type == "*" or (accepted.main_type == main_type and accepted.sub_type == "*"):
            return True
        return media_type(str(accepted)) == offered
