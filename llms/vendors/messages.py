"""Messages as wire formats want them."""

import base64
from collections.abc import Iterable
from xml.sax.saxutils import quoteattr

from llms.vendors.types import ChatMessage, FilePart, ImagePart, TextPart


def merge_roles(messages: Iterable[ChatMessage]) -> tuple[str, list[ChatMessage]]:
    """The system prompt, and the other messages as some vendors demand them: the user begins, and the roles alternate.

    Messages of one role that follow each other become one, with an empty line between their texts. Blank texts are
    left out.
    """
    prompts: list[str] = []
    merged: list[ChatMessage] = []
    for message in messages:
        parts = tuple(
            part
            for part in message.parts
            if not isinstance(part, TextPart) or part.text.strip() or part.signature  # no vendor takes blank texts
        )
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
