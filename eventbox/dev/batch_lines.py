"""One line a batch, and one a request, for a person who watches."""

from __future__ import annotations

import logging
import sys
from datetime import datetime

from eventbox.batch_log import logger as batches

_COLOURS = {"done": "\x1b[32m", "contended": "\x1b[33m", "failed": "\x1b[31m", "idle": "\x1b[2m"}
_LEVELS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
_END = "\x1b[0m"


class BatchLines(logging.Formatter):
    """A record of `eventbox.batch` as one line: recipient, events, transitions, milliseconds, outcome."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        told = vars(record)
        outcome = str(told["outcome"])
        if self._colours:
            outcome = f"{_COLOURS.get(outcome, '')}{outcome}{_END}"
        counted = f"{_count(told['events'], 'event')}, {_count(told['transitions'], 'transition')}"
        return f"{_time(record)}  {told['recipient']:<32} {counted:<26} {told['seconds'] * 1_000:>7.1f} ms  {outcome}"


class OtherLines(logging.Formatter):
    """What else is logged, in one style."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        request = _request(record)
        if request is not None:
            return f"{_time(record)}  {request}"
        level = f"{record.levelname.lower()}: " if record.levelno != logging.INFO else ""
        if self._colours and level:
            level = f"{_LEVELS.get(record.levelno, '')}{level}{_END}"
        line = f"{_time(record)}  {level}{record.name}: {record.getMessage()}"
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return line


class OwnRequests(logging.Filter):
    """Leaves out the wake-ups and sweeps: their batches tell more."""

    def filter(self, record: logging.LogRecord) -> bool:
        return " /eventbox/" not in (_request(record) or "")


def show_logs() -> None:
    """Let this process tell on standard output what its worker does."""
    colours = sys.stdout.isatty()
    others = logging.StreamHandler(sys.stdout)
    others.setFormatter(OtherLines(colours=colours))
    logging.basicConfig(level=logging.INFO, handlers=[others], force=True)
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(BatchLines(colours=colours))
    batches.setLevel(logging.DEBUG)
    batches.addHandler(lines)
    batches.propagate = False
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").addFilter(OwnRequests())


def _request(record: logging.LogRecord) -> str | None:
    """Method, path and status of a request, where it is one of uvicorn's."""
    if record.name != "uvicorn.access" or not isinstance(record.args, tuple) or len(record.args) != 5:
        return None
    _, method, path, _, status = record.args
    return f"{method} {path} {status}"


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created).strftime("%H:%M:%S")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
