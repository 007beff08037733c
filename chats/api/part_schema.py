"""The schema of a message's part, whose members typed clients drop if it does not name them."""

from chats.parts import PART_TYPES
from core.rest.json_schema import INTEGER, OBJECT, STRING, Schema, object_schema

BOOLEAN: Schema = {"type": "boolean"}
INTEGER_OR_NULL: Schema = {"type": ["integer", "null"]}
STRING_OR_NULL: Schema = {"type": ["string", "null"]}

PART = object_schema(
    {
        "type": {"type": "string", "enum": list(PART_TYPES)},
        "text": STRING,
        # thinking
        "duration_ms": INTEGER_OR_NULL,
        # tool_call
        "id": STRING,
        "tool_id": STRING_OR_NULL,
        "tool": STRING,
        "operation": STRING,
        "arguments": OBJECT,
        "changes_something": BOOLEAN,
        "state": {"type": "string", "enum": ["waiting", "refused", "running", "done", "failed", "unknown"]},
        # tool_result, and the file of an image, file or citation
        "tool_call_id": STRING,
        "is_error": BOOLEAN,
        "truncated": BOOLEAN,
        "file_id": STRING_OR_NULL,
        # image, file
        "media_type": STRING,
        "name": STRING,
        "width": INTEGER,
        "height": INTEGER,
        # citation
        "number": INTEGER,
        "datasource_id": STRING_OR_NULL,
        "file": STRING,
        "page": INTEGER_OR_NULL,
        "start": INTEGER,
        "end": INTEGER,
        "score": {"type": "number"},
    },
    ["type"],
    description="Its type says which other members it has.",
)
