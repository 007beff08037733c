"""Messages as wire formats want them."""

import base64
import re
from collections.abc import Iterable
from xml.sax.saxutils import quoteattr

from llms.vendors.types import ChatMessage, FilePart, ImagePart, TextPart, text_message

# names of models that refuse a system prompt, as vendors and gateways have them
WITHOUT_SYSTEM_PROMPT = re.compile(
    r"""(^|/)(
        o1-(mini|preview)
        | gemma(-?[1-3]n?(?=[-.:]|$) | [-:]\d+b | $)
        | gemini-(1\.0-pro | 2\.0-flash-(exp|preview)-image)
        | mi[sx]tral-(8x)?7b-instruct-v0\.[12]
        | qwen-mt-
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def arrange_roles(messages: Iterable[ChatMessage], model: str) -> tuple[str, list[ChatMessage]]:
    """The system prompt, and the other messages with roles that alternate.

    The prompt is empty if the model takes none; then the first question begins with it.
    """
    system, merged = merge_roles(messages)
    if system and WITHOUT_SYSTEM_PROMPT.search(model):
        return merge_roles((text_message("user", system), *merged))
    return system, merged


def merge_roles(messages: Iterable[ChatMessage]) -> tuple[str, list[ChatMessage]]:
    """The system prompt, and the other messages as many models demand them: the user begins, and the roles alternate.

    Messages of one role that follow each other become one, with an empty line between their texts: a question whose
    answer failed, and the next one. Blank texts are left out, unless the last message, the question, is blank.
    """
    prompts: list[str] = []
    merged: list[ChatMessage] = []
    conversation = [*messages]
    for message in conversation:
        parts = tuple(
            part
            for part in message.parts
            if not isinstance(part, TextPart) or part.text.strip() or part.signature  # vendors refuse blank texts
        )
        if message is conversation[-1]:
            parts = parts or message.parts
        if message.role == "system":
            prompts.append(message.text)
        elif not parts or (message.role == "assistant" and not merged):
            continue
        elif merged and merged[-1].role == message.role:
            *earlier, last = merged[-1].parts
            first, *later = parts
            if isinstance(last, TextPart) and isinstance(first, TextPart) and not last.signature:
                first = TextPart(f"{last.text}\n\n{first.text}", first.signature)
            else:
                earlier.append(last)
            merged[-1] = ChatMessage(message.role, (*earlier, first, *later))
        else:
            merged.append(ChatMessage(message.role, parts))
    return "\n\n".join(prompts), merged


def write_file(file: FilePart) -> str:
    """The text of a file between delimiters that do not occur in it, so that it cannot pretend to end."""
    text, tag = file.text or "", "file"
    while f"</{tag}>" in text:
        tag += "_"
    return f"\n<{tag} name={quoteattr(file.name)}>\n{text}\n</{tag}>\n"


def encode_image(image: ImagePart) -> str:
    return base64.b64encode(image.data).decode()
