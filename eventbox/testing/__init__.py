"""What you need to test your own code: a clock that tests move by hand."""

from __future__ import annotations

from emulator.manual_clock import ManualClock

__all__ = ["ManualClock"]
