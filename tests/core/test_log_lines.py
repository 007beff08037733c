"""Log lines for people."""

import logging

import pytest
from django.conf import settings

from core.telemetry.logs import TextFormatter

FORMAT = settings.LOGGING["formatters"]["text"]["fmt"]


@pytest.mark.parametrize("moments", [(1_790_000_000.0, 1_790_000_000.0004, 1_790_000_000.9996, 1_790_000_001.25)])
def test_the_time_of_each_line_is_as_usual(moments: tuple[float, ...]) -> None:
    ours, usual = TextFormatter(FORMAT), logging.Formatter(FORMAT)
    records = [record_at(moment) for moment in (*moments, *reversed(moments))]
    lines = [ours.format(record) for record in records]
    assert lines == [usual.format(record) for record in records]
    assert lines[-2].endswith(",000 INFO chats.answering.answer_task [one] An answer")


def record_at(moment: float) -> logging.LogRecord:
    values = {"name": "chats.answering.answer_task", "levelname": "INFO", "msg": "An answer", "request_id": "one"}
    return logging.makeLogRecord({**values, "created": moment, "msecs": int((moment % 1) * 1000)})
