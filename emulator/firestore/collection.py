"""One collection: its documents, and what happened to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emulator.firestore.versions import Move, Version


class Collection:
    """The latest version of each document, deletions included, chained to those before.

    Those that were committed since `pruned_us` come last, in order of time. So what has changed since then is found
    from the end, without a log, which would take more memory than the rest where a collection has one document.
    """

    __slots__ = ("live", "path", "pruned_us", "versions")

    def __init__(self, path: str, pruned_us: int) -> None:
        self.path = path
        self.pruned_us = pruned_us  # what was here before this time may be forgotten
        self.versions: dict[str, Version] = {}
        self.live = 0  # how many documents exist

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]

    def documents(self) -> Iterator[Version]:
        """The documents that exist."""
        return (version for version in self.versions.values() if version.data is not None)

    def existed(self, read_us: int) -> bool:
        """Whether it had any documents at a time."""
        last = next(reversed(self.versions.values()), None)
        if last is None or last.time_us <= read_us:
            return self.live > 0
        return any(as_of(version, read_us) is not None for version in self.versions.values())

    def put(self, versions: Sequence[Version]) -> list[Move]:
        """Add the next versions of documents, each of another one; every document's version before, and its next."""
        moves = []
        for version in versions:
            # taken out, so that what takes its place comes last
            previous = version.previous = self.versions.pop(version.name, None)
            self.live += (version.data is not None) - (previous is not None and previous.data is not None)
            self.versions[version.name] = version
            moves.append((previous, version))
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

    def forget_before(self, version: Version) -> None:
        """Forget what a version took the place of, the oldest that did, and the version too if it is a deletion."""
        version.previous = None
        self.pruned_us = max(self.pruned_us, version.time_us)
        if version.data is None and self.versions.get(version.name) is version:
            del self.versions[version.name]

    def since(self, read_us: int) -> Iterator[Version]:
        """The versions that are later than a time: document by document, the last to change first."""
        for latest in reversed(self.versions.values()):
            if latest.time_us <= read_us:
                return
            version: Version | None = latest
            while version is not None and version.time_us > read_us:
                yield version
                version = version.previous


def as_of(version: Version | None, read_us: int) -> Version | None:
    """The version that was the latest at a time, going back from one; None where the document did not exist."""
    while version is not None and version.time_us > read_us:
        version = version.previous
    return None if version is None or version.data is None else version
