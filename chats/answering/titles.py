"""A session's title by its LLM, where the chat wants that: asked for once, in the background, after one exchange."""

import asyncio
import logging
import re
import unicodedata
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from django.db import DatabaseError
from django.db.models import Exists, OuterRef

from chats.answering import prompts
from chats.conversation import Exchange, title_of
from chats.models import USAGE, Message, Session, Title
from core.database.compiled import insert, update, writing
from core.telemetry.hooks import instrumentations
from llms.vendors.errors import VendorError
from llms.vendors.registry import adapter
from llms.vendors.types import Call, Finish, Text, Thinking, Usage, text_message

log = logging.getLogger(__name__)

TIMEOUT = 20  # seconds
STORING_TIMEOUT = 1  # seconds, for the server may be about to stop
LONGEST_SHOWN = 2_000  # characters of the question, and of the answer, that the LLM is shown
LONGEST_REPLY = 200  # characters; who says more, which is more than about 50 tokens, is cut off and gives no title
LONGEST_THOUGHT = 10_000  # characters, where thinking comes as text
MOST_TOKENS = 1_024  # a reasoning model spends some before it says anything
REQUEST = """Question: {question}

Answer: {answer}

A title of two to six words for this conversation, in its language, and nothing else:"""

QUOTES = re.compile('["“”„‟«»「」『』`]')
LABEL = re.compile(r"^title\s*:", re.IGNORECASE)
WRAPPING = " '\u2018\u2019*_"
BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and a symbol that show nothing
JOINERS = "\u200c\u200d"  # which are not printable, and part of words and emoji


@dataclass(frozen=True)
class Claim:
    """That this worker, and no other, is to ask for a title; the name that it may replace."""

    title: Title
    instead_of: str


async def make(exchange: Exchange, http: Any, in_database: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
    """Ask for a title after this exchange, if there is to be one, and keep it. Fails without noise."""
    assert exchange.call
    call = call_for(exchange.call, exchange.question.text, exchange.answer.text)
    try:
        claimed = await in_database(lambda: claim(exchange.answer, input_tokens=prompts.tokens_of(call.turns)))
        if claimed:
            name = await asked(exchange.vendor, call, claimed.title, http)
            async with asyncio.timeout(STORING_TIMEOUT):
                await in_database(lambda: keep(claimed, name))
    except (DatabaseError, TimeoutError) as error:
        log.warning("The title of session %s is not stored: %s", exchange.answer.session_id, error)


def call_for(call: Call, question: str, answer: str) -> Call:
    """The call for a title: to the same model, with no other setting than the most tokens."""
    request = REQUEST.format(question=question[:LONGEST_SHOWN], answer=answer[:LONGEST_SHOWN])
    most = min(MOST_TOKENS, call.options.get("max_tokens", MOST_TOKENS))
    return replace(call, turns=(text_message("user", request),), options={"max_tokens": most})


def claim(answer: Message, *, input_tokens: int) -> Claim | None:
    """Begin the call for a title; None unless this is the session's first whole answer, and nobody gave it a name."""
    earlier = Message.objects.filter(
        session=OuterRef("pk"),
        role=Message.Role.ASSISTANT,
        status=Message.Status.COMPLETE,
        sequence__lt=answer.sequence,
    )
    untitled = Session.objects.open_to_owner().filter(~Exists(earlier), chat__llm_titles=True, title=None)
    session = untitled.filter(pk=answer.session_id).first()
    first = session and session.messages.order_by("sequence").first()
    if not (session and first and session.name == title_of(first.text)):
        return None
    title = Title(session=session, model=answer.model, input_tokens=input_tokens, estimated=True)
    with writing() as database:
        insert(database, title)
    return Claim(title, session.name)


async def asked(vendor: str, call: Call, title: Title, http: Any) -> str:
    """The title that the LLM gives, or nothing; what it took, and why there is none, is put into `title`."""
    begun = monotonic()
    text, thought, reason = "", "", ""
    try:
        async with asyncio.timeout(TIMEOUT), aclosing(adapter(vendor).stream(call, http)) as values:
            async for value in values:
                if type(value) is Text:
                    title.time_to_first_token_ms = title.time_to_first_token_ms or milliseconds_since(begun)
                    text += value.text
                    if len(reply_in(text)) > LONGEST_REPLY or len(text) > LONGEST_THOUGHT:
                        break
                elif type(value) is Thinking:
                    thought += value.text
                elif type(value) is Usage:
                    title.count(value)
                elif type(value) is Finish:
                    reason = value.reason
    except VendorError as error:
        if not error.taken:
            title.input_tokens = 0
        title.error_code = error.code  # the vendor's own words may quote what was said
    except TimeoutError:
        title.error_code = "timeout"
    except asyncio.CancelledError:  # the server stops; what it took is stored all the same
        title.error_code = "interrupted"
    except Exception:
        log.exception("A title failed")
        title.error_code = "error"
    title.latency_ms = milliseconds_since(begun)
    if title.output_tokens is None:
        title.output_tokens = prompts.estimate(thought + text)
    name = cleaned(reply_in(text)) if reason == "stop" else ""
    if not (name or title.error_code):
        title.error_code = "unusable"
    if title.error_code:
        log.warning("Session %s got no title from %s: %s", title.session_id, vendor, title.error_code)
    for watcher in instrumentations:
        watcher.title_ended(vendor, title)
    return name


def milliseconds_since(moment: float) -> int:
    return round((monotonic() - moment) * 1000)


def reply_in(text: str) -> str:
    """What is said after a model has thought aloud, as some do in their text; nothing while it goes on."""
    _, thought, after = text.rpartition("</think>")
    return after.strip() if thought or not text.lstrip().startswith("<think>") else ""


def cleaned(reply: str) -> str:
    """The title in a reply: its first line, without marks and label; nothing where that is too long, or not seen."""
    if not reply or len(reply) > LONGEST_REPLY:
        return ""
    first, *_ = reply.splitlines()
    line = "".join(character if character.isprintable() or character in JOINERS else " " for character in first)
    unmarked = QUOTES.sub("", line).lstrip(" #").strip(WRAPPING)
    title = title_of(LABEL.sub("", unmarked, count=1).strip(WRAPPING))
    return title if any(map(is_visible, title)) else ""


def is_visible(character: str) -> bool:
    """Whether it is a letter, a number, a mark of punctuation or a symbol that shows by itself."""
    return unicodedata.category(character)[0] in "LNPS" and character not in BLANK


def keep(claimed: Claim, name: str) -> None:
    """Store what the call took, and its title, if there is one and the name is still the one it may replace.

    The session does not move up among others for it: `updated_at` stays.
    """
    with writing() as database:
        session = Session.objects.select_for_update().filter(pk=claimed.title.session_id).first()
        update(database, [claimed.title], (*USAGE, "error_code"))
        if name and session and session.name == claimed.instead_of:
            session.name = name
            update(database, [session], ("name", "name_folded"))
