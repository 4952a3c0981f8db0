"""A collection tells what has changed since a time, whatever has been put, replaced and forgotten meanwhile."""

from __future__ import annotations

from collections import deque

import hypothesis.strategies as st
from hypothesis import given

from emulator.firestore.collection import Collection
from emulator.firestore.versions import Version

NAMES = st.sets(st.sampled_from("abcde"), min_size=1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES),
        st.tuples(st.just("delete"), NAMES),
        st.tuples(st.just("replace"), NAMES),
        st.tuples(st.just("forget"), st.just(frozenset())),
    ),
    max_size=20,
)


@given(STEPS)
def test_it_tells_what_has_changed_since_a_time_and_whether_it_had_documents(
    steps: list[tuple[str, set[str]]],
) -> None:
    collection = Collection("c", 0)
    log: deque[Version] = deque()
    had_documents = {0: False}
    for now_us, (step, names) in enumerate(steps, 1):
        if step == "forget":
            if log:
                oldest = log.popleft()
                collection.forget_before(oldest)
        elif step == "replace":
            versions = [Version(name, b"", 1, now_us - place % 3) for place, name in enumerate(sorted(names))]
            collection.replace(versions)
            collection.pruned_us = now_us
        else:
            data = b"" if step == "put" else None
            versions = [Version(name, data, 1, now_us) for name in sorted(names)]
            collection.put(versions)
            log.extend(versions)
        had_documents[now_us] = collection.live > 0
        for read_us in range(collection.pruned_us, now_us + 1):
            later = [version for version in log if version.time_us > read_us]
            assert sorted(map(id, collection.since(read_us))) == sorted(map(id, later))
            last_changes = {version.name: None for version in reversed(later)}
            assert list(dict.fromkeys(version.name for version in collection.since(read_us))) == list(
                last_changes
            )
            assert collection.existed(read_us) == had_documents[read_us]
