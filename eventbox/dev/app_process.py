"""`python -m eventbox.dev.app_process`: the process that runs the worker's app, ended and begun anew on each change."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import traceback
from contextlib import suppress
from datetime import timedelta

import uvicorn

from eventbox.dev.batch_lines import show_logs
from eventbox.dev.environment import Environment
from eventbox.dev.exit_codes import NO_TARGET, NOT_STARTED
from eventbox.dev.server_process import begin
from eventbox.dev.sweeps import ask_for_sweeps
from eventbox.dev.target import AsgiApp, Target, TargetError

GRACE = timedelta(seconds=8)


class _Server(uvicorn.Server):
    """Tells when it is up."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._ready, flush=True)


async def serve(
    target: Target, environment: Environment, listening: socket.socket, sweep_every: timedelta
) -> int:
    """Run it until SIGTERM; the exit code."""
    app = _load(target)
    if isinstance(app, int):
        return app
    show_logs()
    config = uvicorn.Config(
        app,
        log_config=None,
        timeout_graceful_shutdown=int(GRACE.total_seconds()),
    )
    server = _Server(config, f"{target} is up at {environment.target}")
    sweeping = None
    if sweep_every:
        sweeping = asyncio.create_task(ask_for_sweeps(environment, sweep_every))
    try:
        await server.serve(sockets=[listening])
    except SystemExit:  # uvicorn's, when the application's own start-up fails; it has told why
        return NOT_STARTED
    finally:
        if sweeping is not None:
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
    return 0


def _load(target: Target) -> AsgiApp | int:
    """The application; an exit code where there is none, and what is wrong with it has been told."""
    try:
        return target.load()
    except TargetError as error:
        print(f"dev: {error}", file=sys.stderr, flush=True)
        return NO_TARGET
    except BaseException as error:  # a module may even call sys.exit
        frames = error.__traceback__
        while frames is not None and not frames.tb_frame.f_code.co_filename.startswith("<frozen importlib"):
            frames = frames.tb_next
        while frames is not None and frames.tb_frame.f_code.co_filename.startswith("<frozen importlib"):
            frames = frames.tb_next
        traceback.print_exception(error.with_traceback(frames))
        print(f"dev: {target.module} cannot be imported", file=sys.stderr, flush=True)
        return NOT_STARTED


def main() -> None:
    """Do what the command line says."""
    told, listening = begin()
    # behind our own imports: a module of theirs may be called as one of ours
    sys.path.insert(0, os.getcwd())
    code = 1
    with suppress(KeyboardInterrupt):
        code = asyncio.run(
            serve(
                Target(**told["target"]),
                Environment(**told["environment"]),
                listening,
                timedelta(seconds=told["sweep_every"]),
            )
        )
    sys.exit(code)


if __name__ == "__main__":
    main()
