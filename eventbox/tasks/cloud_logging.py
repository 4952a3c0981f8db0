"""`CloudLoggingFormatter`: log records as Google Cloud's logging reads them from a container's output."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace

_SEVERITIES = (
    (logging.CRITICAL, "CRITICAL"),
    (logging.ERROR, "ERROR"),
    (logging.WARNING, "WARNING"),
    (logging.INFO, "INFO"),
    (logging.DEBUG, "DEBUG"),
)
_PROJECT_VARIABLES = ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GCP_PROJECT")
_LABELS = frozenset({"recipient", "monitoring_string", "kind", "outcome", "task", "task_name"})
"""Extras of eventbox's own records that are worth a filter or an alert."""
_MAX_CHARS = 50_000
"""Of a message or a stack trace each: an entry of Cloud Logging has at most 256 KiB."""
_MAX_EXTRA_CHARS = 2_000
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_FIELDS = frozenset({"severity", "message", "time", "logger", "stack_trace"})


class CloudLoggingFormatter(logging.Formatter):
    """One line of JSON for each record, with its severity, its trace and its labels.

        handler = logging.StreamHandler()
        handler.setFormatter(CloudLoggingFormatter())
        logging.basicConfig(handlers=[handler], level=logging.INFO)

    Cloud Run hands a container's lines to Cloud Logging, which takes from them `severity`, `message`, `time`, the
    trace and span (of OpenTelemetry's current span, so that an entry is found beside its request), and the labels. Of
    eventbox's own records these are `recipient`, `monitoring_string`, `kind`, `outcome`, `task` and `task_name`. All
    other extras of a record become fields. An exception is the field `stack_trace`, which Error Reporting groups
    errors by.

    Args:
        project: the project that traces belong to; by default what GOOGLE_CLOUD_PROJECT says (Cloud Run does not set
            it). Without either, entries have no trace.
    """

    def __init__(self, project: str | None = None) -> None:
        super().__init__()
        if project is not None and (not isinstance(project, str) or not project):
            raise ValueError(f"project must be a project's ID, not {project!r}")
        self._project = project or next(filter(None, map(os.environ.get, _PROJECT_VARIABLES)), None)

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        entry: dict[str, Any] = {}
        labels: dict[str, str] = {}
        ours = record.name.partition(".")[0] == "eventbox"
        for name, value in vars(record).items():
            if name in _OWN or value is None:
                continue
            if ours and name in _LABELS:
                labels[name] = _cut(str(value), _MAX_EXTRA_CHARS)
            else:
                entry[f"extra_{name}" if name in _FIELDS else name] = _plain(value)
        entry |= {
            "severity": next((name for level, name in _SEVERITIES if record.levelno >= level), "DEFAULT"),
            "message": _cut(_message(record), _MAX_CHARS),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
            "logging.googleapis.com/sourceLocation": {
                "file": record.pathname,
                "line": str(record.lineno),
                "function": record.funcName,
            },
        }
        if labels:
            entry["logging.googleapis.com/labels"] = labels
        if record.exc_info and record.exc_info[0] is not None:
            # its end tells most: there is the error itself
            entry["stack_trace"] = self.formatException(record.exc_info)[-_MAX_CHARS:]
        entry |= self._trace()
        return json.dumps(entry, ensure_ascii=False, default=str)

    def _trace(self) -> dict[str, object]:
        context = trace.get_current_span().get_span_context()
        if not self._project or not context.is_valid:
            return {}
        return {
            "logging.googleapis.com/trace": f"projects/{self._project}/traces/{context.trace_id:032x}",
            "logging.googleapis.com/spanId": f"{context.span_id:016x}",
            "logging.googleapis.com/trace_sampled": context.trace_flags.sampled,
        }


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit: what was meant is still worth an entry
        return f"{record.msg!r} % {record.args!r}"


def _plain(value: object) -> object:
    """The value as JSON can tell it, at no great length."""
    if isinstance(value, bool | int | float):
        # NaN and the infinities are no JSON
        return value if not isinstance(value, float) or abs(value) < float("inf") else str(value)
    if isinstance(value, dict | list | tuple):
        try:
            text = json.dumps(value, default=str, allow_nan=False)
        except (ValueError, TypeError, RecursionError):
            return _cut(repr(value), _MAX_EXTRA_CHARS)
        return value if len(text) <= _MAX_EXTRA_CHARS else _cut(text, _MAX_EXTRA_CHARS)
    return _cut(str(value), _MAX_EXTRA_CHARS)


def _cut(text: str, chars: int) -> str:
    text = text if len(text) <= chars else text[:chars] + "..."
    return text.encode("utf-8", "replace").decode()  # half of a surrogate pair could not be printed
