"""Where a client is in an answer, and who may follow it: what ids of events mean, and what access is."""

from itertools import product

import pytest

from chats.answering.events import (
    ANSWER,
    DONE,
    ERROR,
    IDS_PER_ANSWER,
    LONGEST_ANSWER,
    QUESTION,
    USAGE,
    Position,
    is_valid_position,
)
from chats.models import Chat, Message, Session
from groups.models import Group, User


@pytest.mark.parametrize(
    ("event_id", "sequence", "place"),
    [
        (0, 0, QUESTION),
        (2 * IDS_PER_ANSWER, 2, QUESTION),
        (2 * IDS_PER_ANSWER + ANSWER, 2, ANSWER),
        (2 * IDS_PER_ANSWER + ANSWER + 5, 2, ANSWER + 5),
        (3 * IDS_PER_ANSWER - 1, 2, DONE),
        (10**19 - 1, 10**12 - 1, DONE),  # the largest that a client can send
    ],
)
def test_an_id_is_a_sequence_number_and_a_place(event_id: int, sequence: int, place: int) -> None:
    position = Position(*divmod(event_id, IDS_PER_ANSWER))
    assert position == (sequence, place)
    assert sequence * IDS_PER_ANSWER + place == event_id


def test_the_places_of_an_answer_ascend() -> None:
    places = [QUESTION, ANSWER, ANSWER + 1, ANSWER + LONGEST_ANSWER, USAGE, ERROR, DONE]
    assert places == sorted(set(places))
    assert DONE < IDS_PER_ANSWER


@pytest.mark.parametrize("status", Message.Status.values)
@pytest.mark.parametrize("error_code", ["", "timeout"])
def test_which_events_an_answer_can_have_had(status: str, error_code: str) -> None:
    answer = Message(status=status, text="héllo", error_code=error_code)
    ahead = status in ("streaming", "interrupted")  # more may have been sent than is stored
    expected = {
        -1: False,
        QUESTION: True,
        ANSWER: True,
        ANSWER + 1: True,
        ANSWER + 5: True,
        ANSWER + 6: ahead,
        ANSWER + LONGEST_ANSWER: ahead,
        USAGE: status != "streaming",
        ERROR: status != "streaming" and bool(error_code),
        DONE: status != "streaming",
        IDS_PER_ANSWER: False,
    }
    assert {place: bool(is_valid_position(answer, place)) for place in expected} == expected


def test_who_may_ask_is_who_may_see(db: None, chat: Chat, team: Group, others: Group) -> None:
    """`open_to_owner`, which workers ask of many answers at once, says what `visible_to` says of each."""
    closed = Chat.objects.create(name="Board", llm=chat.llm, llm_settings=chat.llm_settings)
    kitchen = Chat.objects.create(name="Kitchen", llm=chat.llm, llm_settings=chat.llm_settings)
    kitchen.groups.add(others)
    memberships: tuple[tuple[Group, ...], ...] = ((), (team,), (others,), (team, others))
    for number, (is_admin, is_active, groups) in enumerate(product((True, False), (True, False), memberships)):
        user = User.objects.create_user(f"user{number}@example.com", is_admin=is_admin, is_active=is_active)
        user.groups.set(groups)
        for each in (chat, kitchen, closed, None):
            Session.objects.create(user=user, chat=each)
    open_to_owner = list(Session.objects.open_to_owner().order_by("pk"))
    assert open_to_owner == [
        session
        for session in Session.objects.order_by("pk").select_related("user")
        if session.user.is_active and session.chat_id and Session.objects.visible_to(session.user).contains(session)
    ]
    assert len(open_to_owner) == 4 * 3 + (0 + 1 + 2 + 2)
    assert all(session.chat in Chat.objects.visible_to(session.user) for session in open_to_owner)
