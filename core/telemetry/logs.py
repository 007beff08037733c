"""Formats of log lines: text for people, or one JSON object for programs."""

import json
import logging
import time
from datetime import UTC, datetime
from http import HTTPStatus

# neither format has these, which cost time: https://docs.python.org/3/howto/logging.html#optimization
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class TextFormatter(logging.Formatter):
    """Formats the time of a second only once: each answer has two lines, and a second has many."""

    _second = 0
    _spelt = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        second = int(record.created)
        if second != self._second:  # one handler, which formats one line at a time, uses it
            self._second, self._spelt = second, time.strftime(self.default_time_format, time.localtime(second))
        return f"{self._spelt},{int(record.msecs):03d}"


class JSONFormatter(logging.Formatter):
    """Writes time, level, logger, message, request id, and the `fields` that were logged with the message.

    Nothing else of a record is written: Django's records hold the request, with its query.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", None),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)


class WithoutTraceback(logging.Filter):
    """Drops the traceback of a record whose message says enough."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return True


class WithoutTracebackOf503(WithoutTraceback):
    """Drops that of a request for which the database was away, which is no fault of the code."""

    def filter(self, record: logging.LogRecord) -> bool:
        return (
            super().filter(record) if getattr(record, "status_code", None) == HTTPStatus.SERVICE_UNAVAILABLE else True
        )
