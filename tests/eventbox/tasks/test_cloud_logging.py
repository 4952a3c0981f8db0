"""What Cloud Logging is given for a record."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from eventbox.tasks.cloud_logging import CloudLoggingFormatter


def record(
    message: Any = "hello", *args: Any, level: int = logging.INFO, name: str = "app", **extra: Any
) -> Any:
    exc_info = extra.pop("exc_info", None)
    return logging.getLogger(name).makeRecord(
        name, level, "app.py", 7, message, args, exc_info, "handle", extra
    )


def entry(record: logging.LogRecord, project: str | None = "demo") -> dict[str, Any]:
    line = CloudLoggingFormatter(project).format(record)
    assert "\n" not in line
    line.encode()
    found = json.loads(line, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert isinstance(found, dict)
    return found


def test_a_record_is_one_line_with_its_severity_time_and_place() -> None:
    found = entry(record("%s of\n%d", "one", 2, level=logging.WARNING))

    assert found["severity"] == "WARNING"
    assert found["message"] == "one of\n2"
    assert found["time"].endswith("+00:00")
    assert found["logger"] == "app"
    assert found["logging.googleapis.com/sourceLocation"] == {
        "file": "app.py",
        "line": "7",
        "function": "handle",
    }
    assert not {"stack_trace", "logging.googleapis.com/trace", "logging.googleapis.com/labels"} & set(found)


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (5, "DEFAULT"),
        (10, "DEBUG"),
        (20, "INFO"),
        (25, "INFO"),
        (40, "ERROR"),
        (50, "CRITICAL"),
        (60, "CRITICAL"),
    ],
)
def test_levels_are_severities(level: int, severity: str) -> None:
    assert entry(record(level=level))["severity"] == severity


def test_our_records_extras_are_labels_to_filter_by_and_others_are_fields() -> None:
    ours = entry(record(name="eventbox.tasks", recipient="orders/1", outcome="dropped", task=None, events=3))
    theirs = entry(record(recipient="orders/1", outcome={"a": [1]}))

    assert ours["logging.googleapis.com/labels"] == {"recipient": "orders/1", "outcome": "dropped"}
    assert ours["events"] == 3
    assert "task" not in ours
    assert theirs["recipient"] == "orders/1"
    assert theirs["outcome"] == {"a": [1]}
    assert "logging.googleapis.com/labels" not in theirs


def test_extras_cannot_pose_as_the_entrys_own_fields() -> None:
    found = entry(record(severity="low", time="now", stack_trace="none"))

    assert found["severity"] == "INFO"
    assert (found["extra_severity"], found["extra_time"], found["extra_stack_trace"]) == (
        "low",
        "now",
        "none",
    )


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        object(),
        {1, 2},
        b"\xff",
        {"a": float("nan")},
        {("a", 1): 2},
        "\ud800",
        ["x" * 100_000],
        "y" * 100_000,
        10**400,
    ],
    ids=lambda value: repr(value)[:20],
)
def test_whatever_is_logged_is_an_entry_of_no_great_length(value: object) -> None:
    formatter = CloudLoggingFormatter("demo")

    for one in (
        record(extra=value),
        record(value),
        record("%s", value),
        record(recipient=value, name="eventbox"),
    ):
        entry(one)
        assert len(formatter.format(one)) < 256 * 1024


def test_an_extra_that_contains_itself_is_told_too() -> None:
    loop: list[Any] = []
    loop.append(loop)

    assert entry(record(loop=loop))["loop"]


def test_arguments_that_do_not_fit_are_told_as_they_are() -> None:
    assert "'%d apples'" in entry(record("%d apples", "no"))["message"]


def test_an_exception_is_a_stack_trace_that_errors_are_grouped_by() -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        found = entry(record("it failed", level=logging.ERROR, exc_info=sys.exc_info()))

    assert found["message"] == "it failed"
    assert found["stack_trace"].startswith("Traceback (most recent call last):")
    assert found["stack_trace"].endswith("KeyError: 'lost'")


def test_an_entry_is_found_by_the_trace_of_its_request() -> None:
    context = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))
    with trace.use_span(NonRecordingSpan(context)):
        found, nowhere = entry(record()), entry(record(), project=None)

    assert found["logging.googleapis.com/trace"] == f"projects/demo/traces/{'abc':0>32}"
    assert found["logging.googleapis.com/spanId"] == f"{'def':0>16}"
    assert found["logging.googleapis.com/trace_sampled"] is True
    assert "logging.googleapis.com/trace" not in nowhere


def test_the_project_is_the_environments_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "from-environment")
    with trace.use_span(NonRecordingSpan(SpanContext(1, 2, is_remote=True))):
        found = entry(record(), project=None)

    assert found["logging.googleapis.com/trace"].startswith("projects/from-environment/")
    with pytest.raises(ValueError):
        CloudLoggingFormatter("")


@pytest.fixture(autouse=True)
def _no_project(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GCP_PROJECT"):
        monkeypatch.delenv(name, raising=False)
