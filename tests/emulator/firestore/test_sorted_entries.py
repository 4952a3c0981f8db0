"""An index follows its documents, however many of them change at once."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from emulator.firestore.query_plan import scans
from emulator.firestore.sorted_entries import SortedEntries
from emulator.firestore.versions import Version
from tests.emulator.firestore.test_ordered_index import ORDERS, RAW, compiled, document, query

IDS = [f"{n:02}" for n in range(12)]
STATES = st.dictionaries(
    st.sampled_from(IDS), st.dictionaries(st.sampled_from(["a", "b", "tags"]), RAW | st.just([1, 2]))
)
WHERE = st.sampled_from(
    [None, ("a", "EQUAL", 1), ("tags", "ARRAY_CONTAINS", 1), ("a", "GREATER_THAN", 0), ("b", "IN", [1, 2])]
)


def index_of(where: Any, orders: Any) -> SortedEntries:
    asked = compiled(query(where, *orders))
    return SortedEntries(scans(asked)[0].shape, asked)


def entries_of(index: SortedEntries) -> list[tuple[bytes, str]]:
    return [(key, name) for key, name, _ in index.entries]


@given(st.lists(STATES, min_size=2, max_size=4), WHERE, ORDERS)
def test_entries_that_have_followed_are_those_of_an_index_made_anew(
    states: list[Any], where: Any, orders: Any
) -> None:
    following = index_of(where, orders)
    latest: dict[str, Version] = {}
    for state in states:
        moves = []
        for id in IDS:
            gone = Version(document(id, {}).name, None, 0, 0)
            new = document(id, state[id]) if id in state else gone
            if id in state or id in latest:
                moves.append((latest.get(id), new))
                latest[id] = new
        following.move(moves)
        anew = index_of(where, orders)
        anew.fill(latest[id] for id in state)
        assert entries_of(following) == entries_of(anew)


def test_one_document_of_many_moves_alone_and_most_of_them_move_together() -> None:
    index = index_of(None, ["a"])
    versions = [document(f"{n:04}", {"a": n}) for n in range(1_000)]
    index.move([(None, version) for version in versions])
    assert [name[-4:] for _, name in entries_of(index)] == [f"{n:04}" for n in range(1_000)]
    last = document("0000", {"a": 1_000})
    index.move([(versions[0], last)])
    assert [name[-4:] for _, name in entries_of(index)] == [*(f"{n:04}" for n in range(1, 1_000)), "0000"]
    turned = [document(f"{n:04}", {"a": -n}) for n in range(1, 900)]
    index.move(list(zip(versions[1:900], turned, strict=True)))
    expected = [*range(899, 0, -1), *range(900, 1_000), 0]
    assert [name[-4:] for _, name in entries_of(index)] == [f"{n:04}" for n in expected]


def test_indexes_of_the_same_documents_take_out_their_own_entries_and_no_others() -> None:
    rising, falling = index_of(None, ["a"]), index_of(None, ["b"])
    before: list[Version | None] = [None] * 3
    for step in range(4):
        places = [(n + step) % 3 for n in range(3)]
        after = [document(f"{n}", {"a": place, "b": -place}) for n, place in enumerate(places)]
        moves = list(zip(before, after, strict=True))
        rising.move(moves)
        falling.move(moves)
        expected = [f"{n}" for n in sorted(range(3), key=places.__getitem__)]
        assert [name[-1] for _, name in entries_of(rising)] == expected
        assert [name[-1] for _, name in entries_of(falling)] == expected[::-1]
        before = list(after)
