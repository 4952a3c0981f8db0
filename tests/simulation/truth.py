"""What really lies in the database, and what may never happen there, watched at each write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dsset.documents import GONE, document_id
from emulator.firestore import Emulator
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
        self.forget_after = forget_after
        self._gone: dict[str, int] = {}
        self._aside: set[str] = set()
        """What lies in quarantine."""
        self._due: dict[str, dict[str, int]] = {}
        """What was written last, of each inbox and event."""

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

    def ready(self, path: str) -> set[str]:
        """The names of a recipient's events that are outstanding and were never delayed."""
        return {name for name, due in self._due.get(f"{ROOT}{path}/eventbox_inbox", {}).items() if not due}

    def outstanding(self, path: str, ids: Iterable[str]) -> list[str]:
        """Those of these events that are outstanding."""
        inbox = f"{ROOT}{path}/eventbox_inbox"
        return [id for id in ids if self._due.get(inbox, {}).get(f"{inbox}/{document_id(id)}", GONE) != GONE]

    def is_consumed(self, name: str) -> bool:
        """Whether an event, by its full name, is outstanding no longer."""
        version = self._store.latest(name)
        return version is None or version.message.fields["due"].integer_value == GONE

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        """Look at what an RPC has written."""
        if rpc not in ("Commit", "BatchWrite"):
            return
        for write in request.writes:
            name = write.update.name or write.delete
            if "/eventbox_quarantine/" in write.update.name:
                self._aside.add(name)
            elif name in self._aside:  # what is put back comes again, once
                self._aside.discard(name)
                self._gone.pop(name.replace("/eventbox_quarantine/", "/eventbox_inbox/"), None)
        for write in request.writes:
            name = write.update.name or write.delete
            if "/eventbox_inbox/" in name:
                self._look_at_event(name)

    def _look_at_event(self, name: str) -> None:
        version = self._store.latest(name)
        if version is None:  # deleted, by somebody who leaves no tombstone
            if self._due.get(name.rpartition("/")[0], {}).pop(name, None) is not None:
                self._gone.setdefault(name, self._store.changed_at(name))
            return
        due = version.message.fields["due"].integer_value
        gone = due == GONE
        self._due.setdefault(name.rpartition("/")[0], {})[name] = due
        since = self._gone.get(name)
        if gone:
            self._gone[name] = version.time_us if since is None else since
        elif since is not None:
            if version.time_us - since < self.forget_after:
                self._history.violate("no resurrection", f"{name} was consumed, and is outstanding again")
            del self._gone[name]
