"""Where the OpenAPI description is read."""

from typing import Any, ClassVar

from django.http import HttpResponse
from drf_spectacular.views import SpectacularAPIView

from core.rest.schema import DESCRIPTION


class Description(SpectacularAPIView):
    """Writes it once for each of its media types, for that takes half a second; no parameter changes it."""

    written: ClassVar[dict[type, bytes]] = {}
    custom_settings = {"DESCRIPTION": DESCRIPTION}

    def _get_schema_response(self, request: Any) -> HttpResponse:
        renderer = request.accepted_renderer
        if type(renderer) not in self.written:
            document = self.generator_class().get_schema(request=None, public=True)
            self.written[type(renderer)] = renderer.render(document, renderer.media_type, {})
        charset = f"; charset={renderer.charset}" if renderer.charset else ""
        response = HttpResponse(self.written[type(renderer)], content_type=renderer.media_type + charset)
        response["Content-Disposition"] = f'inline; filename="{self._get_filename(request, None)}"'
        return response
