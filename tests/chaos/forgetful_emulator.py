"""`python -m tests.chaos.forgetful_emulator`: a Firestore emulator that acknowledges commits before it writes them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from emulator.cli import main
from emulator.firestore.journal import Journal
from emulator.firestore.versions import Version
from emulator.process import EmulatorProcess

_LATER = 1.0
"""Seconds."""


class ForgetfulEmulatorProcess(EmulatorProcess):
    """Runs this module in the emulator's place."""

    _module = "tests.chaos.forgetful_emulator"

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "PYTHONPATH": os.pathsep.join(sys.path)}


def _forget() -> None:
    record = Journal.record

    def later(self: Journal, versions: Sequence[Version], time_us: int) -> None:
        asyncio.get_running_loop().call_later(_LATER, record, self, versions, time_us)

    Journal.record = later  # type: ignore[method-assign]


if __name__ == "__main__":
    _forget()
    main()
