"""What `eventbox dev` does: the emulators, the app, and a new app on each change."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from emulator.process import EmulatorProcess
from emulator.tasks.process import TasksEmulatorProcess
from eventbox.dev.environment import Environment
from eventbox.dev.exit_codes import NO_TARGET, NOT_STARTED
from eventbox.dev.listening_socket import listening_socket
from eventbox.dev.queues import UNLIMITED, create_queues
from eventbox.dev.server_process import ServerProcess
from eventbox.dev.target import Target

_AGAIN = timedelta(seconds=1)
"""How long to wait before an app that died is begun anew."""

_MIN_BACKOFF = timedelta(seconds=1)
_MAX_BACKOFF = timedelta(seconds=10)
"""Who has just mended a mistake does not want to wait for minutes."""

Say = Callable[[str], None]


class DevError(Exception):
    """It cannot be run; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    target: Target
    host: str
    port: int
    reload: bool
    reload_dirs: tuple[Path, ...]
    data_dir: Path
    queue: str
    project: str
    firestore_port: int
    tasks_port: int
    indexes: Path | None
    sweep_every: timedelta


async def run(options: Options, say: Say) -> int:
    """Run until SIGINT or SIGTERM; the exit code.

    Raises:
        DevError: it cannot be run.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        listening = listening_socket(options.host, options.port)
    except OSError as error:
        raise DevError(f"{error}; choose another by --port") from error
    with closing(listening):
        try:
            async with _emulators(options, listening, say) as environment:
                told = {
                    "target": asdict(options.target),
                    "environment": asdict(environment),
                    "sweep_every": options.sweep_every.total_seconds(),
                }
                app = ServerProcess("eventbox.dev.app_process", told, environment.variables(), listening)
                return await _keep_running(app, options, stop, say)
        finally:
            if stop.is_set():
                say("dev: ended")


@asynccontextmanager
async def _emulators(options: Options, listening: socket.socket, say: Say) -> AsyncIterator[Environment]:
    """Both emulators, with their data kept; where everything is."""
    folder = _data_folder(options.data_dir)
    port = listening.getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    async with AsyncExitStack() as stack:
        firestore = EmulatorProcess(
            data_dir=folder / "firestore", port=options.firestore_port, indexes=options.indexes
        )
        tasks = TasksEmulatorProcess(data_dir=folder / "tasks", port=options.tasks_port)
        try:
            await stack.enter_async_context(firestore)
            await stack.enter_async_context(tasks)
        except RuntimeError as error:
            raise DevError(str(error)) from error
        environment = Environment(
            project=options.project,
            queue=options.queue,
            target=f"http://{host}:{port}",
            firestore=firestore.address,
            tasks=tasks.address,
            certs_url=tasks.certs_url,
        )
        await create_queues(
            tasks.address,
            {environment.queue_name: UNLIMITED, environment.sweep_queue_name: 1},
            min_backoff=_MIN_BACKOFF,
            max_backoff=_MAX_BACKOFF,
        )
        file = environment.write(folder)
        stack.callback(file.unlink, missing_ok=True)
        say(f"Firestore at {environment.firestore}, Cloud Tasks at {environment.tasks}, data in {folder}")
        say(f"For another shell: source {file}")
        yield environment


def _data_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        ignore = path / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise DevError(f"no data can be kept in {path}: {error.strerror}; choose a --data-dir") from error
    return path


async def _keep_running(app: ServerProcess, options: Options, stop: asyncio.Event, say: Say) -> int:
    """Run the app, again whenever it died or its code was changed, until it is to stop; the exit code."""
    changes = asyncio.Queue[str]()
    watching = asyncio.create_task(_watch(options, changes, say)) if options.reload else None
    stopping = asyncio.create_task(stop.wait())
    never = True  # it has not been up, so what is wrong is wrong with the command
    try:
        while True:
            while not changes.empty():  # they are in what is begun now
                changes.get_nowait()
            await app.start()
            ended = asyncio.create_task(app.ended())
            changed = asyncio.create_task(changes.get())
            try:
                await asyncio.wait((stopping, ended, changed), return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    return 0
                if ended.done() and not changed.done():
                    code = ended.result()
                    if code in (NO_TARGET, NOT_STARTED):
                        if not options.reload or (never and code == NO_TARGET):
                            return 1
                        say("dev: waiting for a change")
                        await asyncio.wait((stopping, changed), return_when=asyncio.FIRST_COMPLETED)
                    else:
                        say(f"dev: the app ended ({_told(code)}); beginning it anew")
                        with suppress(TimeoutError):
                            await asyncio.wait_for(asyncio.shield(stopping), _AGAIN.total_seconds())
                if stopping.done():
                    return 0
                if changed.done():
                    say(f"dev: {changed.result()} was changed; beginning the app anew")
                never = False
            finally:
                changed.cancel()
                await app.stop()
                ended.cancel()
    finally:
        stopping.cancel()
        if watching is not None:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching


async def _watch(options: Options, changes: asyncio.Queue[str], say: Say) -> None:
    """Tell of changed Python files."""
    from watchfiles import PythonFilter, awatch

    try:
        async for changed in awatch(*options.reload_dirs, watch_filter=PythonFilter(), raise_interrupt=False):
            path = min(path for _, path in changed)
            changes.put_nowait(os.path.relpath(path))
    except OSError as error:  # a limit of the system on how many files are watched
        say(f"dev: changes cannot be watched: {error}; begin it anew yourself")


def _told(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
