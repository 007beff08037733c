"""How a line of the log looks: for people, or one JSON object for programs."""

import json
import logging
import time
from datetime import UTC, datetime

# neither form of a line says these: https://docs.python.org/3/howto/logging.html#optimization
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class TextFormatter(logging.Formatter):
    """Spells out a second once: each answer has two lines, and there are many in a second."""

    _second = 0
    _spelt = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        second = int(record.created)
        if second != self._second:  # one handler has it, which lets one line at a time be formatted
            self._second, self._spelt = second, time.strftime(self.default_time_format, time.localtime(second))
        return f"{self._spelt},{int(record.msecs):03d}"


class JSONFormatter(logging.Formatter):
    """Time, level, logger, message, request id, and the `fields` that were logged with it.

    Of what else a record carries nothing is written: Django's have the request in them, with its query.
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
    """For what the message alone explains."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        return True
