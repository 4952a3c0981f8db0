"""Typed events: their kind, module and persistence are their type's; what does not fit is no event of the type."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

import pytest
from pydantic import BaseModel, Field

from eventbox import EventBox, Transaction
from eventbox.log import EventLog, EventPersistence, LogEntry, LogEvent


class Paid(LogEvent):
    kind = "paid"
    module = "ledger"

    amount: int
    note: str = ""


class Seen(LogEvent):
    kind: ClassVar[str] = "seen"
    persistence: ClassVar[EventPersistence] = EventPersistence.TRIMABLE

    at: datetime = Field(alias="seenAt")


class Typing(LogEvent):
    kind = "typing"
    persistence = EventPersistence.TRANSIENT


AT = datetime(2030, 1, 1, tzinfo=UTC)


async def test_an_event_comes_back_as_what_it_was(log: EventLog) -> None:
    await log.append_event(Paid(amount=5, note="ü"), module_id=3)
    await log.append_event(Seen(seenAt=AT))
    typing = log.transient()
    await log.append_event(Typing())
    await log.order()
    assert [entry.kind for entry in await log.read()] == ["paid"]
    paid, seen = await log.read_trimable()
    assert paid.module == ("ledger", 3)
    assert paid.to_event(Paid) == Paid(amount=5, note="ü")
    assert seen.module is None
    assert seen.to_event(Seen) == Seen(seenAt=AT)
    assert (await anext(typing)).to_event(Typing) == Typing()
    assert paid.to_event(Seen) is None
    assert seen.to_event(Paid) is None


@pytest.mark.parametrize(
    "entry",
    [
        LogEntry(0, "paid", None, AT, b'{"amount": 5}'),
        LogEntry(0, "paid", ("bank", 1), AT, b'{"amount": 5}'),
        LogEntry(0, "seen", ("ledger", 1), AT, b'{"amount": 5}'),
        LogEntry(0, "paid", ("ledger", 1), AT, b'{"amount": "many"}'),
        LogEntry(0, "paid", ("ledger", 1), AT, b"\xff"),
        LogEntry(0, "paid", ("ledger", 1), AT, b""),
    ],
)
def test_what_does_not_fit_is_no_event_of_the_type(entry: LogEntry) -> None:
    assert entry.to_event(Paid) is None
    assert LogEntry(0, "paid", ("ledger", 9), AT, b'{"amount": 5}').to_event(Paid) == Paid(amount=5)


async def test_module_and_module_id_are_both_there_or_neither(log: EventLog) -> None:
    with pytest.raises(ValueError, match="module_id"):
        await log.append_event(Paid(amount=5))
    with pytest.raises(ValueError, match="names no module"):
        await log.append_event(Seen(seenAt=AT), module_id=1)


async def test_an_own_id_and_a_transaction_are_as_in_append(box: EventBox, log: EventLog) -> None:
    async def pay(transaction: Transaction) -> None:
        await log.append_event(Paid(amount=5), module_id=1, transaction=transaction)

    await box.run_in_transaction(pay)
    await log.append_event(Paid(amount=6), module_id=1, id="x")
    await log.append_event(Paid(amount=6), module_id=1, id="x")
    await log.order()
    events = [entry.to_event(Paid) for entry in await log.read()]
    assert [event.amount for event in events if event is not None] == [5, 6]


async def test_what_is_no_event_is_refused(log: EventLog) -> None:
    class Plain(BaseModel):
        pass

    class Kindless(LogEvent):
        pass

    with pytest.raises(TypeError, match="LogEvent"):
        await log.append_event(Plain())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has no kind"):
        await log.append_event(Kindless())
    entry = LogEntry(0, "paid", None, AT, b"{}")
    with pytest.raises(TypeError, match="Kindless has no kind"):
        entry.to_event(Kindless)
    with pytest.raises(TypeError, match="derived from LogEvent"):
        entry.to_event(Plain)  # type: ignore[type-var]


def test_a_type_that_cannot_be_is_refused_where_it_is_written() -> None:
    with pytest.raises(TypeError, match="ClassVar"):

        class Field(LogEvent):
            kind: str = "paid"  # type: ignore[misc]

    with pytest.raises(ValueError, match="1 to 256 bytes"):

        class Empty(LogEvent):
            kind = ""

    with pytest.raises(TypeError, match="EventPersistence"):

        class Persistent(LogEvent):
            kind = "a"
            persistence = "persistent"  # type: ignore[assignment]


def test_a_subclass_may_add_to_a_common_base() -> None:
    class Ledger(LogEvent):
        module = "ledger"

        account: str

    class Opened(Ledger):
        kind = "opened"

    assert (Opened.kind, Opened.module, Opened(account="a").account) == ("opened", "ledger", "a")
