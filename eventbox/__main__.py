"""`python -m eventbox`: the command line, as `eventbox`."""

from __future__ import annotations

from eventbox.cli import main

if __name__ == "__main__":
    main(prog_name="eventbox")
