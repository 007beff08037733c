"""Where a client that lost its connection reads on."""

from chats.answering.events import DONE, IDS_PER_ANSWER, Position, is_valid_position
from chats.errors import InvalidPosition
from chats.models import Message, Session


def resume_point(session: Session, *, after: str | None, last_event_id: str | None) -> tuple[Message | None, int]:
    """The answer to read on, and the place in it of the client's last event; None if nothing more comes.

    `after` and `last_event_id` are ids of events as a client sends them. Browsers name both: where they began, and
    where they lost the connection; the later one counts. Raises InvalidPosition for what is no event of this session.
    """
    answers = session.messages.filter(role=Message.Role.ASSISTANT).select_related("parent")
    ids = []
    for name, text in (("after", after), ("Last-Event-ID", last_event_id or None)):
        if text is None:
            continue
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise InvalidPosition(name, f"{name} must be the id of an event.")
        ids.append(int(text))
    if not ids:
        return answers.order_by("sequence").last(), -1
    position = Position(*divmod(max(ids), IDS_PER_ANSWER))
    answer = answers.filter(sequence=position.sequence).first()
    if answer is None or not is_valid_position(answer, position.place):
        name = "Last-Event-ID" if after is None else "after"
        raise InvalidPosition(name, "There is no event with this id in this session.")
    if position.place == DONE:
        return answers.filter(sequence__gt=answer.sequence).order_by("sequence").first(), -1
    return answer, position.place
