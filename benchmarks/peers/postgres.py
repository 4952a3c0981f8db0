"""`PostgresServer`: a PostgreSQL of this machine's packages, in a temporary folder, for the length of a benchmark."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

_PACKAGES = Path("/usr/lib/postgresql")
_UNPRIVILEGED = ("postgres", "nobody")
_WAIT_S = "60"


class PostgresMissingError(Exception):
    """This machine has no PostgreSQL."""


def find_binaries() -> Path:
    """The folder of `postgres`, `initdb` and `pg_ctl`: the newest of Debian's packages, or what is on the PATH.

    Raises:
        PostgresMissingError: there is none.
    """
    versions = [path for path in _PACKAGES.glob("*/bin") if (path / "initdb").exists()]
    if versions:
        return max(versions, key=lambda path: float(path.parent.name))
    found = shutil.which("initdb")
    if found is None:
        raise PostgresMissingError(
            "there is no PostgreSQL on this machine: `apt-get install postgresql` (it need not be started)"
        )
    return Path(found).resolve().parent


class PostgresServer:
    """A server with its defaults as shipped, on a socket of its own and no port; with fsync, as always.

    It is pinned to the first core that this process may use, where there are two; this process moves to the others.
    It runs as an unprivileged user where this process is root's, for it refuses to run as root.

    Raises:
        PostgresMissingError: there is none on this machine.
    """

    def __init__(self) -> None:
        self._binaries = find_binaries()
        self._user = _unprivileged_user() if os.geteuid() == 0 else None
        self.conninfo = ""

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="peers-"))
        self._cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        try:
            if self._user is not None:
                os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
            data = self._folder / "data"
            self._run("initdb", "--pgdata", str(data), "--username", "peers", "--auth", "trust")
            if len(self._cores) > 1:
                os.sched_setaffinity(0, self._cores[:1])  # what it starts now stays there
            options = f"-c listen_addresses='' -c unix_socket_directories='{self._folder}'"
            log = str(self._folder / "log")
            self._run("pg_ctl", "start", "-w", "-t", _WAIT_S, "-D", str(data), "-l", log, "-o", options)
            if len(self._cores) > 1:
                os.sched_setaffinity(0, self._cores[1:])
        except BaseException:
            self._clean()
            raise
        self.conninfo = f"host={self._folder} user=peers dbname=postgres"
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            data = str(self._folder / "data")
            self._run("pg_ctl", "stop", "-w", "-t", _WAIT_S, "-D", data, "-m", "immediate")
        finally:
            self._clean()

    def _clean(self) -> None:
        if self._cores:
            os.sched_setaffinity(0, self._cores)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, command: str, *arguments: str) -> None:
        user = self._user
        done = subprocess.run(
            [str(self._binaries / command), *arguments],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
        )
        if done.returncode:
            raise RuntimeError(f"{command} failed: {done.stderr.strip()}")


def _unprivileged_user() -> pwd.struct_passwd:
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError(
        f"PostgreSQL refuses to run as root, and there is no user {' or '.join(_UNPRIVILEGED)}"
    )
