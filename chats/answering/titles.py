"""Gives a session a title by its LLM, if the chat wants that: once, in the background, after its first whole answer."""

import asyncio
import json
import logging
import re
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.db import DatabaseError
from django.db.models import Exists, OuterRef

from chats.answering.database_threads import DatabaseThreads
from chats.conversation import Exchange, title_of
from chats.models import USAGE, Message, Session, Title
from core.database.compiled import write_transaction
from core.telemetry.hooks import RequestRecord, instrumentations
from llms.vendors.types import Options, StreamEvent, Text, text_message
from usage.metering import MeteredCall, StopListening

if TYPE_CHECKING:
    from llms.vendors.http import Client

log = logging.getLogger(__name__)

STORING_TIMEOUT = 1  # seconds, because the server may be about to stop
LONGEST_EXCERPT = 2_000  # characters of the question, and of the answer, that the LLM is shown
LONGEST_REPLY = 200  # characters, about 50 tokens; a longer reply is cut off and gives no title
LONGEST_THOUGHT = 10_000  # characters, for models whose thinking comes as text
MOST_TOKENS = 1_024  # a reasoning model spends some before it says anything
REQUEST = """Question: {question}

Answer: {answer}

A title of two to six words for this conversation, in its language, and nothing else:"""

QUOTES = re.compile('["“”„‟«»「」『』`]')
LABEL = re.compile(r"^title\s*:", re.IGNORECASE)
FENCE = re.compile(r"(`{3,}|~{3,})[\w-]*\s(.*?)\1", re.DOTALL)  # a block of code
ALMOST_JSON = re.compile(r"""[{\[]\s*(["']?\w+["']?\s*:)?\s*["'](.*?)["']\s*[,}\]]""")  # with other quotes or commas
TITLE_KEYS = ("title", "name")
WRAPPING = " '\u2018\u2019*_"
BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and a symbol that are invisible
JOINERS = "\u200c\u200d"  # not printable, but part of words and emoji


@dataclass(frozen=True)
class Claim:
    """The right of this worker, and no other, to ask for a title; and the name that the title may replace."""

    title: Title
    replaced_name: str


async def make_title(
    exchange: Exchange, http: "Client", threads: DatabaseThreads, request: RequestRecord | None = None
) -> None:
    """Ask for a title after this exchange and store it. Does nothing if there is to be none, or if that fails."""
    assert exchange.call
    question, answer = exchange.question.text[:LONGEST_EXCERPT], exchange.answer.text[:LONGEST_EXCERPT]
    prompt = text_message("user", REQUEST.format(question=question, answer=answer))
    options: Options = {"max_tokens": min(MOST_TOKENS, exchange.call.options.get("max_tokens", MOST_TOKENS))}
    call = replace(exchange.call, turns=(prompt,), options=options)
    conversation = str(exchange.answer.session.uuid)
    metered = MeteredCall("title", exchange.vendor, call, conversation=conversation, request=request)
    try:
        claim = await threads.run(lambda: claim_title(exchange.answer, input_tokens=metered.result.input_tokens))
        if claim:
            name = await ask_for_title(metered, claim.title, http)
            async with asyncio.timeout(STORING_TIMEOUT):
                await threads.run(lambda: store_title(claim, name))
    except (DatabaseError, TimeoutError) as error:
        log.warning("The title of session %s is not stored: %s", exchange.answer.session_id, error)


def claim_title(answer: Message, *, input_tokens: int | None) -> Claim | None:
    """Store that the call begins. None unless this is the session's first whole answer and nobody named the session."""
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
    with write_transaction():
        title = Title.objects.create(session=session, model=answer.model, input_tokens=input_tokens, estimated=True)
    return Claim(title, session.name)


async def ask_for_title(metered: MeteredCall, title: Title, http: "Client") -> str:
    """The LLM's title, or an empty text. `title` gets what the call took, and why there is no title."""
    text = ""

    async def listen(event: StreamEvent) -> None:
        nonlocal text
        if isinstance(event, Text):
            text += event.text
            if len(reply_in(text)) > LONGEST_REPLY or len(text) > LONGEST_THOUGHT:
                raise StopListening

    try:
        await metered.run(http, listen)
        title.error_code = metered.result.error_code
    except asyncio.CancelledError:  # the server stops; what the call took is stored all the same
        title.error_code = "interrupted"
    title.record_usage(metered.result)
    name = clean_title(reply_in(text)) if metered.result.finish_reason == "stop" else ""
    if not (name or title.error_code):
        title.error_code = "unusable"
    vendor = metered.record.vendor
    if title.error_code:
        log.warning("Session %s got no title from %s: %s", title.session_id, vendor, title.error_code)
    for instrumentation in instrumentations:
        instrumentation.title_ended(vendor, title.error_code)
    return name


def reply_in(text: str) -> str:
    """The text after the thoughts that some models write into it; empty while the model still thinks."""
    _, thought, after = text.rpartition("</think>")
    return after.strip() if thought or not text.lstrip().startswith("<think>") else ""


def unpack_title(reply: str) -> str:
    """The reply without the block of code and the JSON that some models put it into."""
    fenced = FENCE.search(reply)
    text = fenced[2].strip() if fenced else reply
    if not text.startswith(("{", "[")):
        return text
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        found = ALMOST_JSON.match(text)
        return found[2] if found else text
    if isinstance(document, list):
        document = document[0] if document else ""
    if isinstance(document, dict):
        texts = {key.lower(): value for key, value in document.items() if isinstance(value, str)}
        document = next((texts[key] for key in (*TITLE_KEYS, *texts) if key in texts), "")
    return document if isinstance(document, str) else ""


def clean_title(reply: str) -> str:
    """The title in a reply: its first line, without marks and label. Empty if the line is too long or invisible."""
    if len(reply) > LONGEST_REPLY or not (text := unpack_title(reply).strip()):
        return ""
    first, *_ = text.splitlines()
    line = "".join(character if character.isprintable() or character in JOINERS else " " for character in first)
    unmarked = QUOTES.sub("", line).lstrip(" #").strip(WRAPPING)
    title = title_of(LABEL.sub("", unmarked, count=1).strip(WRAPPING))
    is_visible = any(unicodedata.category(each)[0] in "LNPS" and each not in BLANK for each in title)
    return title if is_visible else ""


def store_title(claim: Claim, name: str) -> None:
    """Store what the call took; and the title, if the session still has the name that the title may replace.

    The session does not move up in lists: `updated_at` stays.
    """
    with write_transaction():
        session = Session.objects.select_for_update().filter(pk=claim.title.session_id).first()
        if session is None:
            return
        claim.title.save(update_fields=(*USAGE, "error_code"))
        if name and session.name == claim.replaced_name:
            session.name = name
            session.save(update_fields=("name", "name_folded"))
