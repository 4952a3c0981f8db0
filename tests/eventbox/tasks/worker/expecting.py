"""What one request has to have told: by the log, the metric and the span."""

from __future__ import annotations

import pytest

from tests.eventbox.tasks.worker.house import House, logged


def expect(
    house: House, caplog: pytest.LogCaptureFixture, outcome: str, level: int, *, kind: str = "wake"
) -> None:
    """One request, with this outcome, by the log and the metric."""
    assert logged(caplog) == [(outcome, level)]
    [(attributes, times)] = house.counted().items()
    assert times == 1
    assert attributes[:2] == (kind, outcome)
    [span] = [span for span in house.recorder.spans if span.name == f"eventbox.{kind}"]
    assert span.attributes["eventbox.outcome"] == outcome
