"""A question as programs ask it most goes a short way: past Django's request, middleware and views.

What an answer says in its headers is learned from one that went the whole way, called by the same host and scheme: so
it is a host that is allowed, and all that middleware adds is there.
"""

import re
from http import HTTPStatus
from io import BytesIO
from typing import Any, NamedTuple
from uuid import UUID

from django.db import close_old_connections
from rest_framework.exceptions import APIException

from chats import conversation
from chats.api.conversations import FAILURE, begun, events
from chats.api.serializers import LONGEST_QUESTION
from core.idempotency import attempts
from core.rest.parsers import strict_json
from core.rest.renderers import API_ROOT, FlatRenderer
from core.rest.sse import MEDIA_TYPE
from core.server.asgi_handler import Respond, StreamedResponse
from core.telemetry.hooks import current_request
from groups.authentication import user_of

PATH = re.compile(rf"{API_ROOT}sessions/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})/messages")
MOST_KNOWN = 100  # ways of calling this server whose headers are kept


class Question(NamedTuple):
    """What is asked, and by whom. `called` is how this server was: its scheme and host."""

    session: UUID
    text: str
    authorization: str
    called: tuple[str, bytes]


class Learned(NamedTuple):
    """What each answer says alike."""

    headers: list[tuple[bytes, bytes]]
    route: str


_learned: dict[tuple[str, bytes], Learned] = {}


def short_way(whole_way: Respond) -> Respond:
    """Answer a plain question, and leave everything else to the whole way, which also explains what goes wrong."""

    def respond(scope: Any, body: bytes) -> Any:
        question = plain_question(scope, body)
        if question is None:
            return whole_way(scope, body)
        known = _learned.get(question.called)
        if known is None:
            return learned(question, whole_way(scope, body))
        answer = None
        try:
            answer = answered(question, known)
        except Exception as failure:  # nothing was stored, and is not tried again
            scope = {**scope, FAILURE: failure}
        finally:
            close_old_connections()
        return answer or whole_way(scope, body)

    return respond


def plain_question(scope: Any, body: bytes) -> Question | None:
    """The question of a request that has nothing else in it, and is to be answered with events."""
    headers = dict(scope["headers"])
    if scope["method"] != "POST" or scope["query_string"] or len(headers) < len(scope["headers"]):
        return None
    if (headers.get(b"accept"), headers.get(b"content-type")) != PLAIN or headers.keys() & NOT_PLAIN:
        return None
    path = PATH.fullmatch(scope["path"])
    if not (path and b"authorization" in headers and b"host" in headers):
        return None
    try:
        document = strict_json(BytesIO(body))
        text = document["data"]["attributes"]["text"]
    except (APIException, LookupError, TypeError):
        return None
    is_plain = document == {"data": {"type": "messages", "attributes": {"text": text}}} and isinstance(text, str)
    if not (is_plain and 0 < len(text) <= LONGEST_QUESTION):
        return None
    return Question(
        UUID(path[1]), text, headers[b"authorization"].decode("latin1"), (scope["scheme"], headers[b"host"])
    )


PLAIN = (MEDIA_TYPE.encode(), FlatRenderer.media_type.encode())
NOT_PLAIN = {attempts.HEADER.lower().encode(), b"cookie", b"content-encoding"}


def answered(question: Question, known: Learned) -> StreamedResponse | None:
    """The answer's events; None where nobody is known to ask."""
    user = user_of(question.authorization)
    if user is None:
        return None
    exchange = begun(conversation.ask, user=user, session=question.session, text=question.text)
    headers = known.headers
    if seen := current_request.get():
        seen.status, seen.route, seen.user_id = HTTPStatus.OK, known.route, user.pk
        headers = [*headers, (b"x-request-id", seen.id.encode())]
    return StreamedResponse(HTTPStatus.OK, headers, events(exchange.answer, exchange.question))


def learned(question: Question, answer: Any) -> Any:
    """The answer itself. Of the headers of one with events, all but its id are those of every other."""
    seen = current_request.get()
    if not (seen and isinstance(answer, StreamedResponse) and answer.status == HTTPStatus.OK):
        return answer
    if b"set-cookie" not in dict(answer.headers):  # which is for one alone
        if len(_learned) >= MOST_KNOWN:
            _learned.clear()
        same = [header for header in answer.headers if header[0] != b"x-request-id"]
        _learned[question.called] = Learned(same, seen.route)
    return answer
