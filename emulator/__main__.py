"""`python -m emulator`: see `python -m emulator --help`."""

from __future__ import annotations

from emulator.cli import main

if __name__ == "__main__":
    main(prog_name="python -m emulator")
