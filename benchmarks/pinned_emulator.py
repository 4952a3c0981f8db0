"""An emulator's process on one core, for whoever measures it from the others."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Self


class PinnedEmulator:
    """An emulator on the first core that this process may use; this process moves to the others.

    Args:
        service: what `python -m emulator` is to start.
        variable: which environment variable its address is for, as it prints it.
        arguments: further ones of the command line.
    """

    def __init__(self, service: str, variable: str, *arguments: str) -> None:
        self._arguments = [service, "--port", "0", *arguments]
        self._ready = f"export {variable}="
        self.address = ""

    def __enter__(self) -> Self:
        cores = sorted(os.sched_getaffinity(0))
        self._cores = set(cores)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "emulator", *self._arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        )
        if len(cores) > 1:
            os.sched_setaffinity(self._process.pid, {cores[0]})
            os.sched_setaffinity(0, set(cores[1:]))
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith(self._ready):
            if not line:
                raise RuntimeError("the emulator did not come up")
        self.address = line.strip().removeprefix(self._ready)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        os.sched_setaffinity(0, self._cores)
