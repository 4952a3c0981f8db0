"""States of every kind: how they are stored, what is noticed, and what is kept."""

from __future__ import annotations

import gc
import math
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from google.cloud.firestore import AsyncClient
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from dsset.encoded_writes import update
from eventbox import DocumentProcessor, Event, EventBox, Mutation, Recipient, Transaction, Transition
from eventbox.state_codec import StateCodec


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Address:
    city: str = ""
    zip: str = ""


@dataclass
class Order:
    status: str = "new"
    total: float = 0.0
    placed_at: datetime | None = None
    lines: list[str] = field(default_factory=list)
    tags: set[str] = field(default_factory=set)
    color: Color = Color.RED
    blob: bytes = b""
    address: Address = field(default_factory=Address)
    billing: Address | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class Device(BaseModel):
    name: str = ""
    readings: list[float] = []
    address: Address = Address()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = ""


class Changing(DocumentProcessor[Any]):
    """Applies the test's function to the state: what it returns is the next one, None: changed in place."""

    def __init__(self, recipient: Recipient, state_type: Any, change: Any, **kwargs: Any) -> None:
        super().__init__(recipient, state_type, **kwargs)
        self._change = change

    async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
        changed = self._change(state)
        return Mutation([Transition(state if changed is None else changed)])


async def eversion(to: Recipient) -> int | None:
    data = (await to.ref.get()).to_dict()
    return None if data is None else data.get("eventbox_eversion")


async def change(box: EventBox, to: Recipient, state_type: Any, fn: Any) -> Any:
    """Run a batch that changes the state by `fn`; the state as it is loaded afterwards."""
    await box.process_batch(to, Changing(to, state_type, fn))
    return (await Changing(to, state_type, None).load_state())[0]


async def test_a_dataclass_comes_back_as_it_was_saved(box: EventBox, to: Recipient) -> None:
    order = Order(
        "paid", 12.5, datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), ["a", "b"], {"x", "y"}, Color.BLUE,
        b"\0\xff", Address("Bern", "3000"), Address("Basel"), {"any": [1, {"deep": None}], "odd key.": 1},
    )  # fmt: skip
    assert await change(box, to, Order, lambda _: order) == order


async def test_a_pydantic_model_comes_back_as_it_was_saved(box: EventBox, to: Recipient) -> None:
    device = Device(name="d", readings=[1.0, math.inf], address=Address("Bern"))
    assert await change(box, to, Device, lambda _: device) == device


async def test_a_model_may_allow_extra_fields(box: EventBox, to: Recipient) -> None:
    model = Open.model_validate({"name": "x", "more": 1})
    assert await change(box, to, Open, lambda _: model) == model


async def test_a_dict_is_the_whole_document_and_keys_that_go_are_removed(
    box: EventBox, to: Recipient
) -> None:
    await to.ref.set({"a": 1, "b.c": 2, "`": {"deep": 1}})
    assert await change(box, to, dict, lambda state: {"b.c": 3, "ä b": [1]}) == {"b.c": 3, "ä b": [1]}
    assert set((await to.ref.get()).to_dict() or {}) == {"b.c", "ä b", "eventbox_eversion", "eventbox_token"}


@pytest.mark.parametrize(
    ("state_type", "mutate"),
    [
        (Order, lambda s: s.lines.append("x")),
        (Order, lambda s: setattr(s.address, "city", "Bern")),
        (Order, lambda s: s.extra.setdefault("k", []).append(1)),
        (Device, lambda s: s.readings.append(1.0)),
        (dict, lambda s: s.setdefault("k", []).append(1)),
    ],
)
async def test_a_change_in_place_is_noticed(
    box: EventBox, to: Recipient, state_type: Any, mutate: Any
) -> None:
    for n in (1, 2):
        await box.process_batch(to, Changing(to, state_type, lambda s: mutate(s) and None))
        if mutate.__code__.co_names[0] != "setattr":
            assert await eversion(to) == n


@pytest.mark.parametrize("what", ["the loaded state", "another"])
async def test_what_a_side_effect_changes_in_place_is_saved(box: EventBox, to: Recipient, what: str) -> None:
    class Late(DocumentProcessor[Address]):
        async def prepare_mutation(self, events: Sequence[Event], state: Address) -> Mutation[Address]:
            after = state if what == "the loaded state" else Address("Bern")

            async def change(_: Transaction) -> None:
                after.city = "Basel"

            return Mutation([Transition(after, side_effect=change)])

    await box.process_batch(to, Late(to, Address))
    assert (await Late(to, Address).load_state())[0] == Address("Basel")


class Stamping(Changing):
    """Changes the state as it saves it."""

    async def save_state(self, transaction: Transaction, state: Any, eversion: int) -> None:
        state.zip = "late"
        await super().save_state(transaction, state, eversion)


class Checking(Changing):
    """Changes the state as it checks its version."""

    after: Address

    async def fetch_eversion(self, transaction: Transaction) -> int:
        self.after.zip = "late"
        return await super().fetch_eversion(transaction)


@pytest.mark.parametrize("kind", [Stamping, Checking])
async def test_what_a_processor_changes_in_the_transaction_is_saved(
    box: EventBox, to: Recipient, kind: Any
) -> None:
    after = Address("Bern")
    processor = kind(to, Address, lambda _: after)
    processor.after = after
    await box.process_batch(to, processor)
    assert (await Changing(to, Address, None).load_state())[0] == Address("Bern", "late")


@pytest.mark.parametrize(
    ("before", "after", "saved"),
    [
        ({"n": 0}, {"n": 0.0}, True),
        ({"n": 0.0}, {"n": -0.0}, True),
        ({"n": math.nan}, {"n": math.nan}, False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, True),
        ({"a": None}, {}, True),
    ],
)
async def test_a_state_is_saved_if_and_only_if_it_would_be_written_differently(
    box: EventBox, to: Recipient, before: Any, after: Any, saved: bool
) -> None:
    await to.ref.set(before)
    await box.process_batch(to, Changing(to, dict, lambda _: after))
    assert await eversion(to) == (1 if saved else None)


async def test_fields_that_the_state_does_not_know_are_kept_at_any_depth(
    box: EventBox, to: Recipient
) -> None:
    await to.ref.set({"mine": 1, "status": "new", "address": {"city": "Bern", "floor": 3}})
    await change(box, to, Order, lambda _: Order("paid", address=Address("Basel")))
    stored = (await to.ref.get()).to_dict()
    assert stored is not None
    assert (stored["mine"], stored["status"], stored["address"]) == (
        1, "paid", {"city": "Basel", "zip": "", "floor": 3},
    )  # fmt: skip


async def test_a_nested_state_may_come_and_go(box: EventBox, to: Recipient) -> None:
    assert (await change(box, to, Order, lambda _: Order(billing=Address("Bern")))).billing == Address("Bern")
    assert (await change(box, to, Order, lambda _: Order(billing=None))).billing is None
    assert (await change(box, to, Order, lambda _: Order(billing=Address("Basel")))).billing == Address(
        "Basel"
    )


async def test_a_document_that_does_not_exist_has_the_initial_state_and_eversion_0(to: Recipient) -> None:
    assert await Changing(to, Order, None).load_state() == (Order(), 0)
    initial = Changing(to, Order, None, initial=lambda: Order("draft"))
    assert await initial.load_state() == (Order("draft"), 0)


async def test_a_document_without_an_eversion_has_eversion_0(to: Recipient) -> None:
    await to.ref.set({"status": "old"})
    assert await Changing(to, Order, None).load_state() == (Order("old"), 0)


async def test_a_document_that_does_not_fit_the_state_is_an_error(box: EventBox, to: Recipient) -> None:
    await to.ref.set({"total": "much"})
    with pytest.raises(ValidationError, match="total"):
        await box.process_batch(to, Changing(to, Order, lambda s: s))


@pytest.mark.parametrize("state_type", [int, str, list, object])
def test_a_state_of_another_kind_is_refused(local_client: AsyncClient, state_type: Any) -> None:
    with pytest.raises(TypeError, match="a dataclass, a pydantic model or a dict"):
        Changing(Recipient(local_client.document("a/1"), "a"), state_type, None)


def test_what_is_no_class_or_no_recipient_is_refused(local_client: AsyncClient) -> None:
    with pytest.raises(TypeError, match="must be a class"):
        StateCodec(Order())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a Recipient"):
        Changing(local_client.document("a/1"), dict, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"eventbox_eversion": 5}, ValueError, "eventbox's own"),
        ({7: 1}, TypeError, "keys of a state must be str"),
        ({"a": [{7: 1}]}, TypeError, "keys of a state must be str.* not int: 7"),
        ([1], TypeError, "expected a state of type dict"),
        ({"x": object()}, TypeError, "object"),
    ],
)
async def test_a_state_that_cannot_be_stored_is_refused_before_anything_is_changed(
    box: EventBox, to: Recipient, state: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        await box.process_batch(to, Changing(to, dict, lambda _: state))
    assert await eversion(to) is None


class Kind(StrEnum):
    NEW = "new"


class Count(int):
    pass


@dataclass
class Fields:
    a: Any = ""
    a0: Any = 0  # a map of protobuf has it before "a"
    z: Any = None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Fields("new", 1), Fields(Kind.NEW, 1)),
        (Fields("x", 1), Fields("x", Count(1))),
        (Fields("x", 1, "2026-01-01"), Fields("x", 1, date(2026, 1, 1))),
    ],
)
async def test_a_state_of_other_types_that_would_be_written_the_same_is_the_same(
    box: EventBox, to: Recipient, before: Fields, after: Fields
) -> None:
    await change(box, to, Fields, lambda _: before)
    await box.process_batch(to, Changing(to, Fields, lambda _: after))
    assert await eversion(to) == 1


async def test_a_state_may_have_other_keys_each_time_and_leaves_none_of_them_in_memory() -> None:
    codec = StateCodec(dict)

    def save(n: int) -> None:
        keys = [f"key-{n}-{k}" for k in range(2_000)]
        before, after = codec.encode(dict.fromkeys(keys, 1)), codec.encode(dict.fromkeys(keys[1:], 1))
        update("name", after.entries, after.mask_paths(before))

    save(0)
    tracemalloc.start()
    try:
        for n in range(1, 20):
            save(n)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 500_000  # one of them has as much
    finally:
        tracemalloc.stop()


async def test_sets_are_written_in_one_order_whatever_is_in_them() -> None:
    codec = StateCodec(dict)
    mixed = codec.encode({"s": {1, "a", 2.5}})
    assert mixed.entries == codec.encode({"s": {"a", 2.5, 1}}).entries


async def test_the_methods_want_a_loaded_state(to: Recipient) -> None:
    with pytest.raises(RuntimeError, match="load_state must come first"):
        Changing(to, dict, None)._unchanged({})


class Aliased(BaseModel):
    total: int = Field(0, alias="orderTotal")
    count: int = Field(0, validation_alias=AliasChoices("n", "number"))


async def test_a_field_is_stored_under_the_name_that_it_is_read_by(box: EventBox, to: Recipient) -> None:
    await to.ref.set({"orderTotal": 5, "n": 1})
    for _ in range(2):
        await change(box, to, Aliased, lambda s: setattr(s, "total", s.total + 1))
    stored = (await to.ref.get()).to_dict() or {}
    assert {key: one for key, one in stored.items() if not key.startswith("eventbox_")} == {
        "orderTotal": 7,
        "n": 1,
    }


@dataclass
class Rich:
    day: date
    at: time
    took: timedelta
    price: Decimal
    key: UUID
    path: PurePosixPath
    counts: dict[int, int]
    colors: dict[Color, int]


async def test_what_firestore_has_no_value_for_is_stored_as_text_and_comes_back(
    box: EventBox, to: Recipient
) -> None:
    rich = Rich(
        date(2030, 1, 2), time(3, 4), timedelta(seconds=90), Decimal("1.10"), UUID(int=7), PurePosixPath("a/b"),
        {1: 2}, {Color.RED: 3},
    )  # fmt: skip
    await box.process_batch(
        to, Changing(to, Rich, lambda _: rich, initial=lambda: replace(rich, price=Decimal(0)))
    )
    loaded, _ = await Changing(to, Rich, None).load_state()
    assert loaded == rich


def test_a_dataclass_with_fields_that_cannot_be_loaded_is_refused(to: Recipient) -> None:
    @dataclass
    class Counter:
        total: int = field(default=0, init=False)

    with pytest.raises(TypeError, match="total of Counter have init=False"):
        Changing(to, Counter, None)
