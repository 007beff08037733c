"""What is plain goes past Django, with the headers that Django gave before; everything else goes the whole way."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest

from chats.answering.runner import AnswerRunner
from chats.api.conversations import FAILURE
from chats.models import Chat, Session
from chats.short_way import Question, plain_question, short_way
from core.rest.errors import Conflict
from core.server.asgi_handler import StreamedResponse, ThreadPoolASGIHandler, nothing
from core.telemetry.hooks import RequestRecord, current_request
from groups.models import Group
from llms.models import LLM, LLMSettings
from tests.people import Person
from tests.talking import question

SHORT, WHOLE = "text/event-stream", "text/event-stream, application/json;q=0.1"
ID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
BODY = json.dumps(question("How do tides work?")).encode()
HEADERS = {
    b"host": b"localhost",
    b"authorization": b"Bearer x",
    b"accept": SHORT.encode(),
    b"content-type": b"application/json",
}
LENGTH = (b"content-length", b"%d" % len(BODY))


def asking(session: Any = ID, headers: Any = HEADERS, **changes: Any) -> dict[str, Any]:
    """The scope of a plain question, with changes."""
    path = f"/api/v1/sessions/{session}/messages"
    told = [*(headers.items() if isinstance(headers, dict) else headers), LENGTH]
    scope = {"type": "http", "method": "POST", "scheme": "http", "path": path, "query_string": b"", "headers": told}
    return {**scope, "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), **changes}


@pytest.mark.parametrize(
    "scope",
    [
        asking(method="PUT"),
        asking(query_string=b"include=x"),
        asking(path=f"/api/v1/sessions/{ID}/messages/1/edit"),
        asking(session="1"),
        asking(session=ID.upper()),
        *(asking(headers={**HEADERS, b"accept": accept}) for accept in (WHOLE.encode(), b"application/json", b"")),
        asking(headers={**HEADERS, b"content-type": b"application/vnd.api+json"}),
        asking(headers={**HEADERS, b"content-type": b"application/json; charset=utf-8"}),
        asking(headers={**HEADERS, b"idempotency-key": b"one"}),
        asking(headers={**HEADERS, b"content-encoding": b"identity"}),
        asking(headers={**HEADERS, b"cookie": b"aistudio_session=one"}),
        *(asking(headers={key: HEADERS[key] for key in HEADERS if key != missing}) for missing in HEADERS),
        asking(headers=[*HEADERS.items(), (b"authorization", b"Bearer y")]),
    ],
)
def test_only_what_is_plain_goes_the_short_way(scope: dict[str, Any]) -> None:
    assert plain_question(asking(), BODY) == Question(
        UUID(ID), "How do tides work?", "Bearer x", ("http", b"localhost")
    )
    assert plain_question(scope, BODY) is None


Way = Callable[[dict[str, Any]], Any]


class Whole:
    """The whole way, and what came along it. `answer` is its answer instead, if set."""

    def __init__(self) -> None:
        self.django = ThreadPoolASGIHandler(on_stop=lambda: None, around=lambda respond: respond)
        self.came: list[dict[str, Any]] = []
        self.answer: Any = None

    def respond(self, scope: dict[str, Any], body: bytes) -> Any:
        self.came.append(scope)
        return self.answer or self.django.respond(scope, body)


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Whole, Way]]:
    """A whole way, and the short one around it, in a process that has a worker and was never asked before."""
    loop = asyncio.new_event_loop()

    async def worker() -> AnswerRunner:
        return AnswerRunner()

    monkeypatch.setattr("chats.answering.runner._current", loop.run_until_complete(worker()))
    monkeypatch.setattr("chats.short_way._learned", {})
    token = current_request.set(RequestRecord("the-id", "POST", "/", "127.0.0.1", "http"))
    whole = Whole()
    respond = short_way(whole.respond)
    yield whole, lambda scope: respond(scope, BODY)
    current_request.reset(token)
    loop.close()


def own_sessions(owner: Person, team: Group, count: int) -> list[Session]:
    llm, settings = LLM.objects.create(name="Demo", vendor="demo", default_model="demo"), LLMSettings.objects.create()
    chat = Chat.objects.create(name="Tides", llm=llm, llm_settings=settings)
    chat.groups.add(team)
    return [Session.objects.create(user=owner.user, chat=chat) for _ in range(count)]


def by(person: Person, **more: bytes) -> dict[bytes, bytes]:
    return {**HEADERS, b"authorization": f"Bearer {person.key}".encode(), **{k.encode(): v for k, v in more.items()}}


def test_the_headers_of_the_first_are_those_of_the_next(
    ways: tuple[Whole, Way], bob: Person, team: Group, django_assert_num_queries: Any
) -> None:
    whole, respond = ways
    first, second = own_sessions(bob, team, 2)
    learned = respond(asking(first.uuid, by(bob)))
    seen = current_request.get()
    assert seen
    known = (seen.status, seen.route, seen.user_id)
    seen.id, seen.status, seen.route, seen.user_id = "the-next", 0, "", None
    with django_assert_num_queries(8):  # token; savepoint, session, question, answer, run, session, its release
        answer = respond(asking(second.uuid, by(bob)))
    assert len(whole.came) == 1
    assert (learned.status, learned.headers.count((b"x-request-id", b"the-id"))) == (200, 1)
    same = [header for header in learned.headers if header[0] != b"x-request-id"]
    assert {b"content-type", b"vary", b"cache-control", b"x-frame-options"} <= dict(same).keys()
    assert (answer.status, answer.headers) == (200, [*same, (b"x-request-id", b"the-next")])
    assert (seen.status, seen.route, seen.user_id) == known
    assert [message.text for message in second.messages.all()] == ["How do tides work?", ""]


@pytest.mark.parametrize(
    "answer",
    [StreamedResponse(404, [], nothing()), StreamedResponse(200, [(b"set-cookie", b"one=person's")], nothing())],
)
def test_nothing_is_learned_of_another_answer(ways: tuple[Whole, Way], bob: Person, team: Group, answer: Any) -> None:
    whole, respond = ways
    whole.answer = answer
    (session,) = own_sessions(bob, team, 1)
    assert [respond(asking(session.uuid, by(bob))) for _ in range(2)] == [answer, answer]
    assert session.messages.count() == 0


def test_each_host_and_scheme_is_learned_by_itself(ways: tuple[Whole, Way], bob: Person, team: Group) -> None:
    whole, respond = ways
    first, second, third = own_sessions(bob, team, 3)
    assert respond(asking(first.uuid, by(bob))).status == 200
    assert respond(asking(second.uuid, by(bob, host=b"evil.example.com"))).status_code == 400
    assert respond(asking(second.uuid, by(bob), scheme="https")).status == 200
    assert len(whole.came) == 3
    assert respond(asking(third.uuid, by(bob), scheme="https")).status == 200
    assert len(whole.came) == 3


def test_what_fails_is_explained_on_the_whole_way(
    ways: tuple[Whole, Way], bob: Person, charlie: Person, team: Group
) -> None:
    whole, respond = ways
    first, second = own_sessions(bob, team, 2)
    refused = [(by(bob), 409), (by(charlie), 404), (HEADERS, 401)]
    assert respond(asking(first.uuid, by(bob))).status == 200
    for headers, status in refused:
        assert respond(asking((first if status == 409 else second).uuid, headers)).status_code == status
    failures = [type(scope.get(FAILURE)) for scope in whole.came]
    assert failures == [type(None), Conflict, Session.DoesNotExist, type(None)]
    assert second.messages.count() == 0
