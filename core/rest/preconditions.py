"""ETags: a client that has the current response gets 304. `ResourceView` refuses to write to a changed resource."""

import hashlib

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.http import parse_etags


def etag(content: bytes) -> str:
    """The ETag of a response with this content."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def conditional_response(request: HttpRequest, response: HttpResponse) -> HttpResponse | None:
    """Give a response its ETag; returns the response to send in its place if the client has it (`If-None-Match`)."""
    response["ETag"] = etag(response.content)
    known = {item.removeprefix("W/") for item in parse_etags(request.headers.get("If-None-Match", ""))}
    if request.method not in ("GET", "HEAD") or not {"*", response["ETag"]} & known:
        return None
    unchanged = HttpResponseNotModified()
    for name in ("ETag", "Vary", "Cache-Control"):
        unchanged[name] = response[name]
    return unchanged
