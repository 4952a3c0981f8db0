"""The writes that a transaction has gathered, and what they become in its commit: no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dsset import protos
from dsset.encoded_writes import EncodedUpdate, EncodedWrite, EncodedWrites, on_condition


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a write of ours demands of a document: its update time, or None, that there is none."""

    name: str
    version: Any | None

    def holds(self, response: Any) -> bool:
        """Whether it is so in this BatchGetDocumentsResponse."""
        if response.WhichOneof("result") == "missing":
            return self.version is None
        return self.version is not None and bool(response.found.update_time == self.version)

    @property
    def precondition(self) -> Any:
        if self.version is None:
            return protos.Precondition(exists=False)
        return protos.Precondition(update_time=self.version)


@dataclass(frozen=True, slots=True)
class Mark:
    """A point to go back to."""

    writes: int
    pops: int


class Staging:
    """What a commit will consist of.

    Three kinds of things are told apart, because they fail differently: pops (of events; a failed precondition is
    contention), verified documents (the same), and writes of the user's own (a failed precondition is theirs).
    """

    def __init__(self) -> None:
        self._writes: list[Any] = []
        self._pops: list[EncodedWrites] = []
        self._verified: dict[str, Expectation] = {}
        self._changes_verified: set[str] = set()

    def add(self, write: Any) -> None:
        self._writes.append(write)

    def consume(self, pops: EncodedWrites) -> None:
        """Add the consumption of events."""
        self._pops.append(pops)

    def verify(self, name: str, version: Any | None) -> None:
        self._verified[name] = Expectation(name, version)

    def change_verified(self, write: Any) -> None:
        """Add a write of ours to a verified document that surely changes it."""
        self._writes.append(write)
        self._changes_verified.add(target(write))

    def mark(self) -> Mark:
        return Mark(len(self._writes), len(self._pops))

    def take_back(self, mark: Mark) -> None:
        del self._writes[mark.writes :]
        del self._pops[mark.pops :]

    @property
    def empty(self) -> bool:
        return not (self._writes or self._pops or self._verified)

    @property
    def pops(self) -> int:
        """How many events it consumes."""
        return sum(map(len, self._pops))

    @property
    def has_foreign_preconditions(self) -> bool:
        """Whether a precondition may fail that the user has put there."""
        return any(_is_conditional(write) for write in self._writes)

    @property
    def expectations(self) -> list[Expectation]:
        """Everything that we demand ourselves: where it no longer holds, somebody else was faster."""
        popped = [Expectation(*condition) for pops in self._pops for condition in pops.conditions]
        return [*self._verified.values(), *popped]

    @property
    def unwritten_absences(self) -> list[str]:
        """The documents that must not exist, and of which no write says so: one that only verifies would make them.

        They are those that nothing writes, and those whose first write demands that they are there.
        """
        absent = [name for name, one in self._verified.items() if one.version is None]
        first: dict[str, Any] = {}
        for write in self._writes if absent else ():
            first.setdefault(target(write), write)
        return [name for name in absent if name not in first or _demands_presence(first[name])]

    def drop(self, name: str) -> None:
        """Verify a document no longer: it was read in the transaction."""
        del self._verified[name]

    def place_of_change(self, name: str) -> int | None:
        """Which of the commit's writes changes a verified document, where that is ours and nobody else writes to it."""
        if name not in self._changes_verified:
            return None
        behind = self.writes()[len(self._pops) :]
        places = [place for place, write in enumerate(behind, self.pops) if target(write) == name]
        return places[0] if len(places) == 1 else None

    def is_written(self, name: str) -> bool:
        """Whether a write of the user's own, or ours that changes it, is about a document."""
        return any(target(write) == name for write in self._writes)

    @property
    def happens_once(self) -> bool:
        """Whether carrying it out makes it impossible to carry it out again, so that resending does no harm."""
        return (
            self.pops > 0
            or bool(self._changes_verified)
            or any(_happens_once(write) for write in self._writes)
        )

    def writes(self) -> list[Any]:
        """The writes of the commit, of which several may be in one.

        Pops come first: an event of the same ID that is emitted in the same transaction must meet the tombstone. A
        verified document costs no write of its own where one is written anyway: the first such write bears the
        precondition. Otherwise a write that changes nothing does, since Firestore has no write that only verifies; but
        never for a document that must not exist, which it would make.
        """
        pending = dict(self._verified)
        result: list[Any] = []
        for write in self._writes:
            expectation = pending.pop(target(write), None) if pending else None
            if expectation is not None:
                if not _is_conditional(write):
                    version = expectation.version
                    write = on_condition(
                        write, expectation.name, None if version is None else version.SerializeToString()
                    )
                elif expectation.version is not None:
                    result.append(_verification(expectation))
                # else it demands the absence itself: see `unwritten_absences`
            result.append(write)
        return [*self._pops, *(_verification(expectation) for expectation in pending.values()), *result]


def target(write: Any) -> str:
    """The name of the document that a write is about."""
    if isinstance(write, EncodedWrite | EncodedUpdate):
        return write.name
    match write.WhichOneof("operation"):
        case "update":
            name = write.update.name
        case "delete":
            name = write.delete
        case _:
            name = write.transform.document
    return str(name)


def _verification(expectation: Expectation) -> Any:
    return protos.Write(
        update=protos.Document(name=expectation.name),
        update_mask=protos.DocumentMask(),  # present and empty: no field is touched, and the update time stays
        current_document=expectation.precondition,
    )


def _is_conditional(write: Any) -> bool:
    """Whether the write has a precondition of its own."""
    return type(write) is not EncodedUpdate and bool(write.HasField("current_document"))


def _demands_presence(write: Any) -> bool:
    """Whether the write's own precondition fails where there is no document."""
    if not _is_conditional(write):
        return False
    condition = write.current_document
    return bool(condition.exists or condition.HasField("update_time"))


def _happens_once(write: Any) -> bool:
    """Whether the write's own precondition can never hold again once it has been carried out.

    So it is for a delete with an update time, since update times never come back. It is not for one with `exists`:
    somebody else may make the document, or remove it, before the resend. Nor for an update with an update time: one
    that changes nothing leaves that as it is.
    """
    if not _is_conditional(write):
        return False
    condition = write.current_document.WhichOneof("condition_type")
    return bool(write.WhichOneof("operation") == "delete" and condition == "update_time")
