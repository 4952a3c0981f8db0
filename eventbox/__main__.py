"""`python -m eventbox`: the command line, as `eventbox`."""

from __future__ import annotations

import os
import signal
from typing import Any

_INTERRUPTED = 128 + signal.SIGINT


def _interrupted(*_: Any) -> None:
    os._exit(_INTERRUPTED)


def main() -> None:
    """Run the command line. Until a command sees to it itself, a Ctrl-C ends the process without a word."""
    signal.signal(signal.SIGINT, _interrupted)
    from eventbox.cli import main as command

    command(prog_name="eventbox")


if __name__ == "__main__":
    main()
