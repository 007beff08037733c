"""Typed access to JSON that comes from outside. A value of another type raises TypeError."""

JSONObject = dict[str, object]

LARGEST_COUNT = 2**31 - 1


def as_object(value: object) -> JSONObject:
    """The value, if it is a JSON object; raises TypeError for another one."""
    if not isinstance(value, dict):
        raise TypeError
    return value


def as_list(value: object) -> list[object]:
    """The value, if it is a list; raises TypeError for another one."""
    if not isinstance(value, list):
        raise TypeError
    return value


def as_text(value: object) -> str:
    """The value, if it is a text; raises TypeError for another one."""
    if not isinstance(value, str):
        raise TypeError
    return value


def as_index(value: object) -> int:
    """A position in a list; 0 where it is missing."""
    if not isinstance(value, int | float | str | None):
        raise TypeError
    return int(value or 0)


def token_count(value: object) -> int | None:
    """A number of tokens, also as some gateways write it (9.0, "9"); None if the value is no such number."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None
