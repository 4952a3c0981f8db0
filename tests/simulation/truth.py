"""What really lies in the database, and what may never happen there, watched at each write."""

from __future__ import annotations

from typing import Any

from dsset.documents import GONE
from emulator.firestore import Emulator
from eventbox.document_processor import EVERSION
from tests.simulation.history import History

ROOT = "projects/demo/databases/(default)/documents/"


class Truth:
    """Looks into the emulator, past the network.

    Args:
        forget_after: for how many microseconds an ID counts as used.
    """

    def __init__(self, emulator: Emulator, history: History, *, forget_after: int) -> None:
        self._store = emulator._service._store
        self._history = history
        self._forget_after = forget_after
        self._gone: dict[str, int] = {}
        self._states: dict[str, tuple[int, bytes]] = {}

    def fields(self, path: str) -> Any:
        """The fields of a document, by its path; None where there is none."""
        version = self._store.latest(ROOT + path)
        return None if version is None else version.message.fields

    def version(self, name: str) -> Any:
        """A document's latest version, by its full name; None where there never was one."""
        return self._store.latest(name)

    def collection(self, id: str) -> dict[str, Any]:
        """The fields of a top-level collection's documents, by their IDs."""
        prefix = f"{ROOT}{id}/"
        return {
            version.name.removeprefix(prefix): version.message.fields
            for version in self._store.documents()
            if version.name.startswith(prefix) and "/" not in version.name.removeprefix(prefix)
        }

    def below(self, kind: str) -> list[str]:
        """The names of all documents in collections of this ID."""
        return [version.name for version in self._store.documents() if version.name.split("/")[-2] == kind]

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        """Look at what an RPC has written."""
        if rpc not in ("Commit", "BatchWrite"):
            return
        for write in request.writes:
            name = write.update.name or write.delete
            if "/eventbox_inbox/" in name:
                self._look_at_event(name)
            elif name.startswith((f"{ROOT}accounts/", f"{ROOT}plain/")):
                self._look_at_state(name)

    def _look_at_event(self, name: str) -> None:
        version = self._store.latest(name)
        if version is None:
            return
        gone = version.message.fields["due"].integer_value == GONE
        since = self._gone.get(name)
        if gone:
            self._gone[name] = version.time_us if since is None else since
        elif since is not None:
            if version.time_us - since < self._forget_after:
                self._history.violate("no resurrection", f"{name} was consumed, and is outstanding again")
            del self._gone[name]

    def _look_at_state(self, name: str) -> None:
        version = self._store.latest(name)
        if version is None:
            return
        fields = version.message.fields
        now = fields[EVERSION].integer_value if EVERSION in fields else 0
        state = fields["applied"].SerializeToString(deterministic=True) if "applied" in fields else b""
        before, state_before = self._states.get(name, (0, b""))
        if now != before + (state != state_before):
            self._history.violate("versions", f"the eversion of {name} went from {before} to {now}")
        self._states[name] = now, state
