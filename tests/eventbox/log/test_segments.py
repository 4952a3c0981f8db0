"""How entries are laid out in segments: pure."""

from __future__ import annotations

from hypothesis import given, strategies as st

from eventbox.log import segments
from eventbox.log.segments import FILL_BYTES, FULL_BYTES, LARGEST_BYTES, Tail

SIZES = st.one_of(st.integers(0, 300), st.integers(0, 70_000), st.integers(0, 900_534))


@given(st.lists(st.lists(SIZES, max_size=20), max_size=15))
def test_segments_hold_every_entry_once_in_order_and_all_but_the_last_are_filled(
    steps: list[list[int]],
) -> None:
    tail = Tail(0, 0, 0)
    laid_out: dict[int, dict[int, int]] = {}
    total = 0
    for sizes in steps:
        tail, extensions = segments.extend(tail, [bytes(size) for size in sizes])
        for extension in extensions:
            held = laid_out.setdefault(extension.segment, {})
            for entry_id, entry in enumerate(extension.entries, extension.first):
                held[entry_id] = len(entry)
        total += len(sizes)
        assert tail.next_id == total
    assert [entry_id for held in laid_out.values() for entry_id in held] == list(range(total))
    assert all(next(iter(held)) == segment for segment, held in laid_out.items())
    used = [sum(held.values()) + 32 * len(held) for held in laid_out.values()]
    assert all(size >= FILL_BYTES for size in used[:-1])
    assert all(size <= LARGEST_BYTES for size in used)
    before_last = [sum(list(held.values())[:-1]) + 32 * (len(held) - 1) for held in laid_out.values()]
    assert all(
        size <= FULL_BYTES or before < FILL_BYTES for size, before in zip(used, before_last, strict=True)
    )
    if used:
        assert used[-1] == tail.size


def test_what_is_ordered_at_once_fills_a_segment_up_to_its_bound() -> None:
    _, extensions = segments.extend(Tail(0, 0, 0), [bytes(10_000)] * 120)
    assert [len(extension.entries) for extension in extensions] == [52, 52, 16]


def test_a_segment_that_has_just_what_fills_it_is_left_alone() -> None:
    for size, segment in ((FILL_BYTES - 1, 3), (FILL_BYTES, 7)):
        _, extensions = segments.extend(Tail(7, 3, size), [b"x"])
        assert [extension.segment for extension in extensions] == [segment]


def test_a_step_without_entries_changes_nothing() -> None:
    for tail in (Tail(0, 0, 0), Tail(7, 3, 100), Tail(7, 3, FILL_BYTES)):
        assert segments.extend(tail, []) == (tail, [])


def test_ids_of_documents_do_not_rise_with_those_of_entries() -> None:
    ids = [segments.document_id(first) for first in range(0, 1_000, 10)]
    assert len(set(ids)) == 100
    assert ids != sorted(ids)
