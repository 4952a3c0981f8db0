"""What a transaction's writes become in its commit, without any I/O."""

from __future__ import annotations

from typing import Any

import pytest

from dsset import protos
from dsset.encoded_writes import (
    EncodedWrites,
    before_write,
    how_many,
    on_condition,
    update as encoded_update,
    write_request,
)
from eventbox.staging import Expectation, Staging, target

NAME = "projects/p/databases/d/documents/a/1"
OTHER = "projects/p/databases/d/documents/a/2"
THEN = protos.Timestamp(seconds=7)


def update(name: str = NAME, **kwargs: Any) -> Any:
    return protos.Write(
        update=protos.Document(name=name, fields={"x": protos.Value(integer_value=1)}), **kwargs
    )


def delete(name: str = NAME, **kwargs: Any) -> Any:
    return protos.Write(delete=name, **kwargs)


def exists(value: bool) -> Any:
    return protos.Precondition(exists=value)


def at(time: Any = THEN) -> Any:
    return protos.Precondition(update_time=time)


def popped(*names: str) -> EncodedWrites:
    version = THEN.SerializeToString()
    writes = [on_condition(update(name), name, version) for name in names]
    parts = [part for write in writes for part in (before_write(write.size), *write.parts)]
    return EncodedWrites([name.encode() for name in names], [version] * len(names), parts)


def messages(staging: Staging) -> list[Any]:
    request = write_request("d", staging.writes())
    return list(protos.CommitRequest.FromString(request).writes)


def test_what_another_set_removes_is_the_users_own() -> None:
    staging = Staging()
    staging.add(*popped(OTHER).messages())
    assert staging.has_foreign_preconditions
    assert staging.pops == 0
    assert [target(write) for write in messages(staging)] == [OTHER]


def test_pops_come_first_so_that_an_emit_of_the_same_id_meets_the_tombstone() -> None:
    staging = Staging()
    staging.add(update(OTHER))
    staging.consume(popped(NAME))
    assert [target(write) for write in messages(staging)] == [NAME, OTHER]


def test_a_verified_document_that_nobody_writes_costs_a_write_that_changes_nothing() -> None:
    staging = Staging()
    staging.verify(NAME, THEN)
    (write,) = staging.writes()
    assert write.update.name == NAME
    assert not write.update.fields
    assert write.HasField("update_mask")
    assert not write.update_mask.field_paths
    assert write.current_document == at()


def test_an_absence_that_nothing_writes_is_left_to_a_read_in_the_transaction() -> None:
    staging = Staging()
    staging.verify(NAME, None)
    staging.verify(OTHER, None)
    staging.add(update(OTHER))
    assert staging.unwritten_absences == [NAME]
    staging.drop(NAME)
    assert messages(staging) == [update(OTHER, current_document=exists(False))]


def test_the_first_write_of_a_verified_document_bears_the_precondition() -> None:
    staging = Staging()
    staging.verify(NAME, THEN)
    staging.add(update(OTHER))
    staging.add(update())
    staging.add(update())
    assert messages(staging) == [update(OTHER), update(current_document=at()), update()]


def test_what_is_encoded_already_counts_as_any_other_write() -> None:
    staging = Staging()
    staging.verify(NAME, THEN)
    staging.verify(OTHER, None)
    write = encoded_update(NAME, b"", ["x"])
    staging.change_verified(write)
    assert staging.is_written(NAME)
    assert staging.unwritten_absences == [OTHER]
    assert not staging.has_foreign_preconditions
    staging.drop(OTHER)
    assert staging.place_of_change(NAME) == 0
    expected = protos.Write(
        update=protos.Document(name=NAME),
        update_mask=protos.DocumentMask(field_paths=["x"]),
        current_document=at(),
    )
    assert messages(staging) == [expected]
    staging.add(write)
    assert messages(staging) == [expected, write.message()]


def test_an_encoded_write_to_a_document_that_must_not_exist_says_so() -> None:
    staging = Staging()
    staging.verify(NAME, None)
    write = encoded_update(NAME, b"", ["x"])
    staging.add(write)
    assert staging.unwritten_absences == []
    assert not staging.happens_once
    (written,) = messages(staging)
    assert written.current_document == exists(False)


def test_a_write_that_has_a_precondition_of_its_own_keeps_it_behind_the_verification() -> None:
    staging = Staging()
    staging.verify(NAME, THEN)
    staging.add(update(current_document=exists(True)))
    first, second = staging.writes()
    assert first.current_document == at()
    assert second == update(current_document=exists(True))


def test_the_given_writes_are_not_changed_by_what_is_added_to_them() -> None:
    staging = Staging()
    write = update()
    staging.verify(NAME, THEN)
    staging.add(write)
    staging.writes()
    assert write == update()


def test_taking_back_removes_writes_and_pops_since_the_mark_and_keeps_what_is_verified() -> None:
    staging = Staging()
    staging.verify(NAME, THEN)
    staging.add(update(OTHER))
    mark = staging.mark()
    staging.add(update())
    staging.consume(popped("projects/p/databases/d/documents/a/3"))
    staging.take_back(mark)
    assert [target(write) for write in messages(staging)] == [NAME, OTHER]
    assert staging.pops == 0


@pytest.mark.parametrize(
    ("write", "once"),
    [
        (update(), False),
        (update(current_document=exists(False)), False),  # somebody may delete it before the resend
        (update(current_document=exists(True)), False),
        (update(current_document=at()), False),  # one that changes nothing keeps its update time
        (delete(), False),
        (delete(current_document=exists(True)), False),
        (delete(current_document=at()), True),
        (delete(current_document=exists(False)), False),
    ],
)
def test_only_a_write_that_breaks_its_own_precondition_makes_a_resend_harmless(
    write: Any, once: bool
) -> None:
    staging = Staging()
    staging.add(write)
    assert staging.happens_once is once


def test_a_verification_alone_does_not_make_a_resend_harmless() -> None:
    staging = Staging()
    staging.verify(NAME, THEN)
    staging.add(update())
    assert not staging.happens_once


def test_a_pop_and_a_saved_state_make_a_resend_harmless() -> None:
    consuming, saved = Staging(), Staging()
    consuming.consume(popped(NAME))
    saved.verify(NAME, THEN)
    saved.change_verified(update())
    assert consuming.happens_once
    assert saved.happens_once


def test_only_preconditions_of_the_users_own_writes_are_foreign() -> None:
    staging = Staging()
    staging.verify(NAME, THEN)
    staging.change_verified(update())
    staging.consume(popped(OTHER))
    assert not staging.has_foreign_preconditions
    staging.add(update("projects/p/databases/d/documents/b/1", current_document=exists(True)))
    assert staging.has_foreign_preconditions


@pytest.mark.parametrize(
    ("expected", "found", "holds"),
    [(None, None, True), (None, 7, False), (7, None, False), (7, 7, True), (7, 8, False)],
)
def test_an_expectation_compares_existence_and_update_time(
    expected: int | None, found: int | None, holds: bool
) -> None:
    def timestamp(seconds: int | None) -> Any:
        return None if seconds is None else protos.Timestamp(seconds=seconds)

    if found is None:
        response = protos.BatchGetDocumentsResponse(missing=NAME)
    else:
        response = protos.BatchGetDocumentsResponse(
            found=protos.Document(name=NAME, update_time=timestamp(found))
        )
    assert Expectation(NAME, timestamp(expected)).holds(response) is holds


def test_an_absence_that_a_create_demands_as_well_needs_no_verification() -> None:
    staging = Staging()
    staging.verify(NAME, None)
    staging.add(update(current_document=exists(False)))
    staging.add(update())
    assert staging.unwritten_absences == []
    assert staging.writes() == [update(current_document=exists(False)), update()]


@pytest.mark.parametrize("condition", [exists(True), at()])
def test_an_absence_before_a_write_that_demands_a_document_is_left_to_a_read(condition: Any) -> None:
    staging = Staging()
    staging.verify(NAME, None)
    staging.add(update(current_document=condition))
    assert staging.unwritten_absences == [NAME]
    staging.drop(NAME)
    assert staging.writes() == [update(current_document=condition)]


@pytest.mark.parametrize("others", [0, 1])
def test_the_place_of_a_change_is_that_in_the_commit_behind_all_that_it_pops(others: int) -> None:
    staging = Staging()
    staging.verify(NAME, THEN)
    staging.verify("projects/p/databases/d/documents/a/3", THEN)
    for pops in (popped("b/1", "b/2"), popped("b/3", "b/4", "b/5")):
        staging.consume(pops)
    for _ in range(others):
        staging.add(update(OTHER))
    staging.change_verified(encoded_update(NAME, b"", ["x"]))
    place = staging.place_of_change(NAME)
    assert [target(write) for write in messages(staging)].index(NAME) == place == 6 + others
    assert (staging.pops, how_many(staging.writes())) == (5, 7 + others)
    assert [one.name for one in staging.expectations][2:] == ["b/1", "b/2", "b/3", "b/4", "b/5"]
    assert all(one.version == THEN for one in staging.expectations)
