"""Who is to be told when a collection changes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from emulator.firestore.targets import Result

if TYPE_CHECKING:
    from emulator.firestore.listen_stream import ListenStream


class Watchers:
    """The streams that listen, by what they depend on. A commit that nobody listens to costs one look."""

    def __init__(self) -> None:
        # how many targets of a stream depend on it
        self._by_path: dict[str, Counter[ListenStream]] = {}
        self._by_group: dict[str, Counter[ListenStream]] = {}

    def join(self, stream: ListenStream, result: Result) -> None:
        """Tell a stream of changes to what a result depends on."""
        for path in result.collections:
            self._by_path.setdefault(path, Counter())[stream] += 1
        if result.group is not None:
            self._by_group.setdefault(result.group, Counter())[stream] += 1

    def leave(self, stream: ListenStream, result: Result) -> None:
        """Tell it no more, as far as this result goes."""
        for path in result.collections:
            _discard(self._by_path, path, stream)
        if result.group is not None:
            _discard(self._by_group, result.group, stream)

    def collection_changed(self, path: str) -> None:
        """Tell all that depend on a collection."""
        if self._by_path:
            for stream in self._by_path.get(path, ()):
                stream.collection_changed()
        if self._by_group:
            for group in (path.rpartition("/")[2], ""):
                for stream in self._by_group.get(group, ()):
                    stream.collection_changed()


def _discard(streams: dict[str, Counter[ListenStream]], key: str, stream: ListenStream) -> None:
    counter = streams[key]
    counter[stream] -= 1
    if not counter[stream]:
        del counter[stream]
        if not counter:
            del streams[key]
