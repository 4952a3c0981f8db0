"""A batch is one line that a person can read."""

from __future__ import annotations

import logging

import pytest

from eventbox.dev.batch_lines import BatchLines, OtherLines, OwnRequests


def record(
    message: str = "", *arguments: object, level: int = logging.DEBUG, **told: object
) -> logging.LogRecord:
    made = logging.LogRecord("shop", level, __file__, 1, message, arguments, None)
    made.__dict__.update(told)
    return made


def batch(outcome: str, events: int = 3, transitions: int = 1) -> logging.LogRecord:
    return record(
        recipient="orders/1", monitoring_string="order", events=events, removed=events, transitions=transitions,
        seconds=0.0124, outcome=outcome,
    )  # fmt: skip


def test_a_line_has_recipient_events_transitions_milliseconds_and_outcome() -> None:
    line = BatchLines(colours=False).format(batch("done"))
    assert line.split()[1:] == ["orders/1", "3", "events,", "1", "transition", "12.4", "ms", "done"]
    assert "\x1b" not in line
    assert "1 event, 0 transitions" in BatchLines(colours=False).format(batch("idle", 1, 0))


@pytest.mark.parametrize("outcome", ["done", "idle", "contended", "failed"])
def test_on_a_terminal_each_outcome_has_a_colour(outcome: str) -> None:
    line = BatchLines(colours=True).format(batch(outcome))
    assert line.endswith(f"m{outcome}\x1b[0m")


def test_other_records_are_told_with_level_and_traceback() -> None:
    assert (
        OtherLines(colours=False)
        .format(record("hello %s", "Ada", level=logging.INFO))
        .endswith("  shop: hello Ada")
    )
    try:
        raise ValueError("no")
    except ValueError as error:
        failed = logging.LogRecord(
            "shop", logging.ERROR, __file__, 1, "x", (), (ValueError, error, error.__traceback__)
        )
    lines = OtherLines(colours=False).format(failed).splitlines()
    assert lines[0].endswith("error: shop: x")
    assert lines[-1] == "ValueError: no"


def request(method: str, path: str, status: int) -> logging.LogRecord:
    made = record('%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", method, path, "1.1", status, level=logging.INFO)
    made.name = "uvicorn.access"
    return made


def test_a_request_is_told_in_short() -> None:
    assert OtherLines(colours=False).format(request("PUT", "/orders/1", 202)).endswith("  PUT /orders/1 202")


def test_requests_for_wake_ups_are_left_out() -> None:
    requests = OwnRequests()
    assert not requests.filter(request("POST", "/eventbox/wake", 200))
    assert requests.filter(request("PUT", "/orders/1", 202))
    assert requests.filter(record("plain"))
