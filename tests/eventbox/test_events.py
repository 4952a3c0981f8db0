"""Events and listed items: values like any other, also where they are made in the quick way."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta

import pytest

from dsset.items import ListedItem, make_listed_item
from eventbox import Event
from eventbox.events import make_event

AT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
EVENT = make_event("a", b"1", AT, LATER, "00-trace")
ITEM = make_listed_item("a", b"1", LATER, {"k": "v"}, AT, b"version", b"token", b"documents/x")


@pytest.mark.parametrize("value", [EVENT, ITEM], ids=["event", "item"])
def test_each_field_holds_what_was_given_for_it_and_stays(value: Event | ListedItem) -> None:
    given = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    assert len(set(map(repr, given.values()))) == len(given)  # so that none can stand for another
    assert type(value)(**given) == value == replace(value)
    assert replace(value, id="b").id == "b"
    with pytest.raises(FrozenInstanceError):
        value.id = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del value.value
    for same in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert [getattr(same, one.name) for one in fields(value)] == [
            getattr(value, one.name) for one in fields(value)
        ]


def test_what_was_made_in_the_quick_way_is_of_the_class_itself() -> None:
    slow = Event("a", b"1", AT, LATER, "00-trace")
    assert (type(EVENT), EVENT, EVENT.traceparent) == (Event, slow, slow.traceparent)
    listed = ListedItem("a", b"1", LATER, {"k": "v"}, AT, b"version", b"token")
    assert (type(ITEM), ITEM) == (ListedItem, listed)
    assert (ITEM._version, ITEM._token, ITEM._name) == (b"version", b"token", b"documents/x")


def test_what_may_be_left_out_has_its_default() -> None:
    assert Event("a", b"1", AT) == Event(id="a", value=b"1", emitted_at=AT, process_after=None)
    assert Event("a", b"1", AT).traceparent is None
    bare = ListedItem("a", b"1")
    assert (bare.process_after, bare.metadata, bare._version, bare._token) == (None, {}, b"", b"")
    assert bare.metadata is not ListedItem("a", b"1").metadata


def test_an_item_made_of_another_does_not_take_over_its_document() -> None:
    assert ITEM._name == b"documents/x"
    assert replace(ITEM, id="b")._name == b""
