"""Types for the arguments of commands."""

from argparse import ArgumentTypeError


def utf_8(argument: str) -> str:
    """Refuse an argument that is no valid UTF-8, because databases refuse it too, with a less clear message."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise ArgumentTypeError("This is not UTF-8.") from None
    return argument
