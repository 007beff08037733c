"""Where clients read the OpenAPI description."""

from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request

from core.rest.errors import TITLES
from core.rest.fields import MAX_RELATED
from core.rest.negotiation import JSON_API
from core.rest.parsers import MAX_DEPTH, MAX_MEMBERS
from core.rest.schema import JSON

DESCRIPTION = f"""\
Chats with LLMs, governed by groups. Every resource speaks `{JSON}`, flat, and `{JSON_API}` (JSON:API 1.1): the media
type of the body says which one a request is in, `Accept` which one its answer gets.

Limits: a body has at most 1 MiB, its objects at most {MAX_MEMBERS} members, it is nested at most {MAX_DEPTH} deep, its
integers have 64 bits and its other numbers are no larger, a relation names at most {MAX_RELATED} resources, a page has
at most 100 (10 by default).

A `POST` may have an `Idempotency-Key`: 1 to 200 printable characters, a new one for each thing to be done, such as a
uuid. Sent again with the same body within 24 hours, it is not done again, but answered as it was the first time, with
`Idempotency-Replayed: true`: a success, and an error but 401, 403, 429 and those of the server. A key holds for a
person and path. With another body it is a 422. While the first is still being answered it is a 409 with `Retry-After`;
should the server have died over it, nothing was done, and the next may be half a minute after it began. An answer with
a secret (a new token) is not kept: 409. On messages the second request joins the answer that the first began. Signing
in and out is done each time.

Error codes: {", ".join(f"`{code}`" for code in TITLES)}.
"""


class CompactRenderer(OpenApiJsonRenderer):
    def get_indent(self, accepted_media_type: str, renderer_context: object) -> None:
        return None


class CompactJSONRenderer(CompactRenderer, OpenApiJsonRenderer2):
    pass


class SchemaView(SpectacularAPIView):
    """Writes the description once for each media type, since that takes half a second; no parameter changes it."""

    renderer_classes = [OpenApiYamlRenderer, OpenApiYamlRenderer2, CompactRenderer, CompactJSONRenderer]
    documents: ClassVar[dict[str, bytes]] = {}  # by media type

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: object, **kwargs: object) -> HttpResponse:
        renderer: Any = request.accepted_renderer
        if renderer.media_type not in self.documents:
            document = self.generator_class().get_schema(request=None, public=True)
            document["info"]["description"] = DESCRIPTION
            self.documents[renderer.media_type] = renderer.render(document, renderer.media_type, {})
        charset = f"; charset={renderer.charset}" if renderer.charset else ""
        response = HttpResponse(self.documents[renderer.media_type], content_type=renderer.media_type + charset)
        response["Content-Disposition"] = f'inline; filename="{spectacular_settings.TITLE}.{renderer.format}"'
        return response
