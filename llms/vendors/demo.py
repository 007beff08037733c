"""A vendor without network and cost, for trying things out. It is deterministic.

It answers from what it is told, or does what the commands in the question say:

    /count 500          answers with the numbers from 1 to 500
    /echo TEXT          answers with exactly TEXT, up to the end of the question
    /image              says what images it was given: how many, of what type and size
    /json               answers with a JSON object that describes what it was given
    /cite               answers with a numbered citation, [1] and so on, of each file and tool result it was given
    /events             gives an event of each kind: thinking, a tool call, a request for approval, a result, citations
    /help               answers with this list

These commands are lines of their own, come first, and can be combined with each other and with one of the above:

    /think TEXT         thinks TEXT before it answers
    /tool NAME {JSON}   calls the tool with these arguments, even if it was not offered; several lines
                        make parallel calls
    /fail [CODE] [after N words]
                        fails with this code (vendor_error if there is none), after so many words of its answer

If it is given results of tools, it answers from them.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from llms.vendors.errors import CODES, VendorError
from llms.vendors.http import Client
from llms.vendors.types import (
    ApprovalRequest,
    Call,
    ChatMessage,
    Citations,
    FilePart,
    Finish,
    IgnoredSettings,
    ImagePart,
    StreamEvent,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolResultPart,
    Usage,
    Vendor,
)

DELAY = 0.02  # seconds before each word
HIGHEST_COUNT = 100_000
KNOWN = {"max_tokens", "stop_words"}
WORD = re.compile(r"\S+\s*|\s+")  # with the space after it, so that the words joined are the text
LEADING = re.compile(r"/(think|tool|fail)\b[ \t]*([^\n]*)\n?")
FAIL = re.compile(r"(?P<code>[a-z_]*)\s*(?:after (?P<words>[0-9]{1,6}) words?)?\s*")
TOOL = re.compile(r"(?P<name>\S+)\s*(?P<arguments>.*)")
EVENTS = "/events"
HELP = (__doc__ or "").partition("\n\n")[2].strip()
LOOKUP: dict[str, object] = {"city": "Graz"}
CITATION = {"number": 1, "datasource_id": None, "file_id": None, "file": "forecast.txt", "page": None}
ONE_OF_EACH_KIND: tuple[StreamEvent, ...] = (  # an answer as of a vendor that runs its own tools and cites results
    Thinking("I should "),
    Thinking("look it up."),
    ToolCall(0, "demo_0", "weather__forecast", json.dumps(LOOKUP)),
    ApprovalRequest(
        {
            "tool_call_id": "demo_0",
            "tool": "weather",
            "operation": "forecast",
            "arguments": LOOKUP,
            "expires_at": None,
        }
    ),
    ToolResult("demo_0", "Sunny, 21 °C."),
    Text("It is sunny "),
    Text("in Graz [1]."),
    Citations(({**CITATION, "start": 0, "end": 13, "text": "Sunny, 21 °C.", "score": 1.0},)),
    Usage(2, 5, None),
    Finish("stop"),
)


@dataclass(slots=True)
class Script:
    """What a question tells the demo to do."""

    text: str = ""
    thoughts: list[str] = field(default_factory=list)
    tools: list[tuple[str, str]] = field(default_factory=list)  # name and arguments
    error: VendorError | None = None
    error_after: int = 0  # words


class Demo(Vendor):
    async def stream(self, call: Call, http: Client) -> AsyncGenerator[StreamEvent, None]:
        if ignored := tuple(setting for setting in call.options if setting not in KNOWN):
            yield IgnoredSettings(ignored)
        script = read_script(call)
        if script.text == EVENTS:
            for event in ONE_OF_EACH_KIND:
                await asyncio.sleep(DELAY)
                yield event
            return
        for thought in script.thoughts:
            for word in WORD.findall(thought):
                await asyncio.sleep(DELAY)
                yield Thinking(word)
        text = script.text
        stops = [text.find(word) for word in call.options.get("stop_words", []) if word in text]
        words = WORD.findall(text[: min(stops, default=None)])
        said = words[: call.options.get("max_tokens")]
        for number, word in enumerate(said):
            if script.error and number == script.error_after:
                raise script.error
            await asyncio.sleep(DELAY)
            yield Text(word)
        if script.error:
            raise script.error
        for index, (name, arguments) in enumerate(script.tools):
            await asyncio.sleep(DELAY)
            yield ToolCall(index, f"demo_{len(call.turns)}_{index}", name, "")
            yield ToolCall(index, "", "", arguments)
        yield Usage(sum(len(turn.text.split()) for turn in call.turns), len(said), None)
        yield Finish("length" if len(said) < len(words) else "tool_calls" if script.tools else "stop")

    async def models(self, endpoint: str, api_key: str, headers: Mapping[str, str], http: Client) -> tuple[str, ...]:
        return ("demo",)


ADAPTER: Vendor = Demo()


def read_script(call: Call) -> Script:
    """What the last message tells the demo to do."""
    conversation = [turn for turn in call.turns if turn.role != "system"]
    last = conversation[-1] if conversation else ChatMessage("user", ())
    results = [part for part in last.parts if isinstance(part, ToolResultPart)]
    if results:
        sentences = []
        for result in results:
            image = f" {describe_images([result.image])}" if result.image else ""
            outcome = "failed" if result.is_error else "answered"
            sentences.append(f"The tool {result.name} {outcome}: {result.text}{image}")
        return Script(" ".join(sentences))
    script, question = Script(), last.text
    while line := LEADING.match(question):
        command, argument = line.groups()
        question = question[line.end() :]
        if command == "think":
            script.thoughts.append(argument)
        elif command == "tool" and (tool := TOOL.fullmatch(argument)):
            script.tools.append((tool["name"], tool["arguments"] or "{}"))
        elif command == "fail" and (failure := FAIL.fullmatch(argument)) and failure["code"] in ("", *CODES):
            script.error = VendorError(failure["code"] or "vendor_error", "The demo failed because it was told to.")
            script.error_after = int(failure["words"] or 0)
        else:
            script.text = f"I do not understand {line[0].strip()}\n\n{HELP}"
            return script
    if question or not script.tools:
        script.text = answer_question(question, call, conversation)
    return script


def answer_question(question: str, call: Call, conversation: list[ChatMessage]) -> str:
    """The text of the answer, if the question has no command for the whole answer."""
    images = [part for turn in conversation for part in turn.parts if isinstance(part, ImagePart)]
    if counted := re.fullmatch(r"/count ([0-9]{1,6})\s*", question):
        return " ".join(map(str, range(1, min(int(counted[1]), HIGHEST_COUNT) + 1)))
    if question.startswith("/echo "):
        return question.removeprefix("/echo ")
    earlier = len(conversation[:-1])
    match question.strip():
        case "/help":
            return HELP
        case "/events":
            return EVENTS
        case "/image":
            return describe_images(images)
        case "/json":
            seen = {"earlier_messages": earlier, "images": len(images), "tools": [tool.name for tool in call.tools]}
            return json.dumps(seen)
        case "/cite":
            return " ".join(cite(conversation)) or "I was given nothing that I could cite."
    count = {0: "no earlier messages", 1: "1 earlier message"}.get(earlier, f"{earlier} earlier messages")
    prompted = ", and follow the system prompt" if len(conversation) < len(call.turns) else ""
    seen_images = f" {describe_images(images)}" if images else ""
    return (
        f"You said: {question}\n\nI am the demo: no language model, I answer from what I am told. "
        f"I saw {count}{prompted}.{seen_images}"
    )


def describe_images(images: Iterable[ImagePart]) -> str:
    described = [f"{image.media_type} of {len(image.data):,} bytes" for image in images]
    if not described:
        return "I see no image."
    return f"I see {len(described)} image{'s' if len(described) > 1 else ''}: {', '.join(described)}."


def cite(conversation: Iterable[ChatMessage]) -> Iterator[str]:
    """A sentence for each file and tool result: its beginning, and its number in brackets."""
    parts = [part for turn in conversation for part in turn.parts if isinstance(part, FilePart | ToolResultPart)]
    for number, part in enumerate(parts, 1):
        beginning = " ".join((part.text or "").split()[:10])
        yield f"{part.name} says: {beginning} [{number}]"
