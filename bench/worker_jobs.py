"""The jobs of `workers.py`."""


def length(data: bytes) -> int:
    return len(data)


def echo(data: bytes) -> bytes:
    return data
