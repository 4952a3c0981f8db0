"""One collection: its documents, and what happened to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from emulator.firestore.versions import Move, Version


class Collection:
    """The latest version of each document, deletions included, and all versions that are kept, in order of time."""

    __slots__ = ("live", "log", "path", "pruned_us", "versions")

    def __init__(self, path: str, pruned_us: int) -> None:
        self.path = path
        self.pruned_us = pruned_us  # what was here before this time may be forgotten
        self.versions: dict[str, Version] = {}
        self.log: deque[Version] = deque()
        self.live = 0  # how many documents exist

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]

    def documents(self) -> Iterator[Version]:
        """The documents that exist."""
        return (version for version in self.versions.values() if version.data is not None)

    def existed(self, read_us: int) -> bool:
        """Whether it had any documents at a time."""
        if not self.log or self.log[-1].time_us <= read_us:
            return self.live > 0
        return any(as_of(version, read_us) is not None for version in self.versions.values())

    def put(self, versions: Sequence[Version]) -> list[Move]:
        """Add the next versions of documents, each of another one; every document's version before, and its next."""
        moves = []
        for version in versions:
            previous = version.previous = self.versions.get(version.name)
            self.live += (version.data is not None) - (previous is not None and previous.data is not None)
            self.versions[version.name] = version
            moves.append((previous, version))
        self.log.extend(versions)
        return moves

    def replace(self, versions: Sequence[Version]) -> list[Move]:
        """Put versions in the place of those of their documents, with no past; what is there before, and after."""
        moves = []
        for version in versions:
            previous = self.versions.get(version.name)
            self.live += (version.data is not None) - (previous is not None and previous.data is not None)
            self.versions[version.name] = version
            moves.append((previous, version))
        return moves

    def forget_oldest(self) -> None:
        """Forget what the oldest version in the log took the place of, and the version too if it is a deletion."""
        version = self.log.popleft()
        version.previous = None
        self.pruned_us = version.time_us
        if version.data is None and self.versions.get(version.name) is version:
            del self.versions[version.name]

    def since(self, read_us: int) -> Iterator[Version]:
        """The versions that are later than a time, the last first."""
        for version in reversed(self.log):
            if version.time_us <= read_us:
                return
            yield version


def as_of(version: Version | None, read_us: int) -> Version | None:
    """The version that was the latest at a time, going back from one; None where the document did not exist."""
    while version is not None and version.time_us > read_us:
        version = version.previous
    return None if version is None or version.data is None else version
