"""The table of locks by itself: who waits, in which order they go on, and who is aborted."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from emulator.firestore import protos
from emulator.firestore.lock_queue import Owner, Request
from emulator.firestore.locks import LockTable
from emulator.firestore.query import Query, compile_query
from tests.emulator.firestore.strategies import version_of

ROOT = "projects/p/databases/d/documents"


class Call:
    """A call of the table, driven by hand."""

    def __init__(self, owner: Owner, coroutine: Coroutine[Any, Any, None]) -> None:
        self.owner = owner
        self._coroutine = coroutine
        self.done = False
        self._waiter: Any = None
        self.go_on()

    def go_on(self) -> bool:
        """Go on if it was woken; whether it is done."""
        if not self.done and (self._waiter is None or self._waiter.done):
            try:
                self._waiter = self._coroutine.send(None)
            except StopIteration:
                self.done = True
        return self.done

    def give_up(self) -> None:
        self._coroutine.close()


class Table(LockTable):
    """A table that makes calls to itself, and keeps them: one that is dropped has given up."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def _call(self, owner: Owner, coroutine: Coroutine[Any, Any, None]) -> Call:
        self.calls.append(Call(owner, coroutine))
        return self.calls[-1]

    def reading(self, owner: Owner, *names: str) -> Call:
        return self._call(owner, self.read(owner, names))

    def asking(self, owner: Owner, asked: Query) -> Call:
        return self._call(owner, self.read_query(owner, asked))

    def writing(self, owner: Owner, *names: str, changes: Callable[[], Any] = dict) -> Call:
        return self._call(owner, self.write(owner, names, changes))

    def writing_document(self, owner: Owner, after: Any) -> Call:
        return self.writing(owner, after.name, changes=lambda: {after.name: (None, after)})


@pytest.fixture
def table() -> Table:
    return Table()


def transaction(age: int, *, exclusive: bool = False) -> Owner:
    return Owner(age, exclusive=exclusive)


def plain() -> Owner:
    return Owner(None)


def query(at_least: int) -> Query:
    structured = protos.StructuredQuery()
    structured.from_.add(collection_id="c")
    structured.where.field_filter.field.field_path = "n"
    structured.where.field_filter.op = protos.StructuredQuery.FieldFilter.Operator.GREATER_THAN_OR_EQUAL
    structured.where.field_filter.value.integer_value = at_least
    return compile_query(ROOT, structured)


def document(name: str, n: int) -> Any:
    return version_of(protos.Document(name=f"{ROOT}/c/{name}", fields={"n": protos.Value(integer_value=n)}))


def test_readers_share_and_a_writer_waits_for_the_last_of_them(table: Table) -> None:
    first, second = transaction(1), transaction(2)
    assert table.reading(first, "x").done
    assert table.reading(second, "x").done
    write = table.writing(plain(), "x")
    table.release(first)
    assert not write.go_on()
    table.release(second)
    assert write.go_on()


def test_a_reader_waits_behind_a_writer_that_came_before_it(table: Table) -> None:
    first, late = transaction(1), transaction(2)
    table.reading(first, "x")
    write = table.writing(plain(), "x")
    read = table.reading(late, "x")
    assert not read.done
    table.release(first)
    assert not read.go_on()  # the writer has its turn, and keeps it until it is done
    assert write.go_on()
    table.written(["x"])
    assert read.go_on()


def test_writers_go_on_in_the_order_in_which_they_came(table: Table) -> None:
    holder = transaction(1)
    table.reading(holder, "x")
    waiting = [table.writing(plain(), "x") for _ in range(5)]
    table.release(holder)
    for turn, write in enumerate(waiting):
        assert [other.go_on() for other in waiting[turn + 1 :]] == [False] * (4 - turn)
        assert write.go_on()
        table.written(["x"])


def test_who_waits_for_one_document_is_in_nobodys_way_at_another(table: Table) -> None:
    table.reading(transaction(1), "x")
    table.writing(plain(), "x")
    assert table.writing(plain(), "y").done
    assert table.reading(transaction(2), "y").done


def test_a_write_takes_all_its_documents_or_none(table: Table) -> None:
    holder, other = transaction(1), transaction(2)
    table.reading(holder, "x")
    write = table.writing(plain(), "x", "y")
    assert table.writing(plain(), "z").done
    assert table.reading(other, "z").done
    table.release(holder)
    assert write.go_on()


def test_one_that_has_lost_before_reads_for_itself_alone(table: Table) -> None:
    again, other = transaction(1, exclusive=True), transaction(2)
    table.reading(again, "x")
    read = table.reading(other, "x")
    assert not read.done
    table.release(again)
    assert read.go_on()


def test_a_querys_lock_covers_what_would_enter_its_result_and_nothing_else(table: Table) -> None:
    reader = transaction(1)
    table.asking(reader, query(5))
    assert table.writing_document(plain(), document("below", 4)).done
    entering = table.writing_document(plain(), document("above", 5))
    assert not entering.done
    table.release(reader)
    assert entering.go_on()


def test_a_query_waits_behind_a_write_that_would_enter_its_result(table: Table) -> None:
    reader, late = transaction(1), transaction(2)
    table.reading(reader, document("1", 5).name)
    write = table.writing_document(plain(), document("1", 5))
    waiting = table.asking(late, query(5))
    assert not waiting.done
    assert table.asking(transaction(3), query(6)).done
    table.release(reader)
    assert write.go_on()
    table.written([document("1", 5).name])
    assert waiting.go_on()


@pytest.mark.parametrize("last", [0, 1, 2])
def test_whoever_closes_a_cycle_the_youngest_in_it_is_aborted(table: Table, last: int) -> None:
    owners = [transaction(age) for age in (1, 2, 3)]
    for owner, name in zip(owners, "abc", strict=True):
        table.reading(owner, name)
    order = [index for index in range(3) if index != last] + [last]
    calls = {index: table.writing(owners[index], "abc"[(index + 1) % 3]) for index in order}
    assert [owner.aborted for owner in owners] == [False, False, True]
    assert calls[2].go_on()  # it is told
    assert calls[1].go_on()  # and nobody is in the way of the one who waited for it


def test_a_cycle_through_one_of_several_waits_of_an_owner_is_found(table: Table) -> None:
    older, younger, bystander = transaction(1), transaction(2), transaction(3)
    table.reading(older, "a")
    table.reading(younger, "b")
    table.reading(bystander, "d")
    table.writing(younger, "a")
    table.writing(younger, "d")  # the later one of its waits leads nowhere
    table.writing(older, "b")
    assert younger.aborted
    assert not older.aborted
    assert not bystander.aborted


def test_nobody_is_aborted_for_a_place_in_line(table: Table) -> None:
    holder, middle = transaction(1), transaction(2)
    table.reading(holder, "a")
    table.reading(middle, "m")
    table.writing(plain(), "a", "b")  # waits for the holder
    blocked = table.writing(middle, "b")  # waits for its turn after that
    assert not blocked.done
    table.writing(plain(), "m", "c")  # waits for the one in the middle
    assert table.reading(holder, "c").done  # so it need not wait for those who wait for it
    assert not holder.aborted
    assert not middle.aborted


def test_a_cycle_that_closes_as_a_document_changes_is_found(table: Table) -> None:
    older, younger = transaction(1), transaction(2)
    n = {"after": 1}

    def changes() -> dict[str, Any]:
        after = document("1", n["after"])
        return {after.name: (None, after)}

    table.asking(older, query(5))
    table.reading(younger, "b")
    table.reading(transaction(3), "other")
    holder = transaction(4)
    table.reading(holder, document("1", 0).name)
    table.writing(younger, document("1", 0).name, changes=changes)  # waits for the holder alone
    table.writing(older, "b")  # waits for the younger
    assert not younger.aborted
    n["after"] = 9  # an increment, say, whose document has been changed
    table.written(["elsewhere"])
    assert younger.aborted
    assert not older.aborted


def test_whoever_ends_while_it_waits_gets_nothing_and_keeps_nothing(table: Table) -> None:
    holder, ending = transaction(1, exclusive=True), transaction(2)
    table.reading(holder, "x")
    read = table.reading(ending, "x")
    table.release(ending)
    assert read.go_on()
    table.release(holder)
    assert table.waiting == 0
    assert table.writing(plain(), "x").done


def test_whoever_gives_up_lets_those_behind_go_on(table: Table) -> None:
    holder, late = transaction(1), transaction(2)
    table.reading(holder, "x")
    write = table.writing(plain(), "x")
    read = table.reading(late, "x")
    write.give_up()
    assert read.go_on()
    assert table.waiting == 0


def test_who_waits_in_turn_goes_on_once_those_before_it_wait_for_it(table: Table) -> None:
    one, two, three = transaction(1), transaction(2), transaction(3)
    a, b, c = (document(name, 0).name for name in "abc")
    table.reading(one, a)
    table.reading(two, b)
    table.reading(three, c)
    write = table.writing(plain(), b, a)  # waits for one and two
    behind = table.reading(three, b)  # behind the write, for fairness alone
    assert not behind.done
    table.writing(one, c)  # waits for three, and so does the write behind it
    assert behind.go_on()
    assert not write.go_on()


class CountingTable(Table):
    """Counts how often it looks for those who are in a request's way."""

    looks = 0

    def _blockers(self, request: Request) -> Iterator[Owner]:
        self.looks += 1
        return super()._blockers(request)


def test_a_long_line_of_writers_costs_each_of_them_the_same() -> None:
    table = CountingTable()
    reader, name = transaction(1), document("1", 0).name
    table.reading(reader, name)
    for _ in range(500):
        table.writing(plain(), name)
    table.release(reader)
    while any(call.go_on() for call in table.calls):
        table.calls = [call for call in table.calls if not call.done]
        table.written([name])
    assert not table.calls
    assert table.looks < 10 * 500


def test_a_long_line_of_transactions_that_nobody_waits_for_searches_no_cycles() -> None:
    table = CountingTable()
    reader, name = transaction(1), document("1", 0).name
    table.reading(reader, name)
    for age in range(2, 202):
        owner = transaction(age)
        table.reading(owner, document(f"own {age}", 0).name)
        table.writing(owner, name)
    assert table.looks < 10 * 200


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_asked_nothing_is_shared_wrongly_and_everybody_ends(seed: int) -> None:
    rng = random.Random(seed)
    table = Table()
    names = [document(str(n), 0).name for n in range(4)]
    owners: list[Owner] = []
    for age in range(1, 200):
        owners.append(transaction(age, exclusive=rng.random() < 0.3))
        owner = rng.choice(owners)
        match rng.randrange(6):
            case 0 | 1:
                table.reading(owner, *rng.sample(names, rng.randint(1, 3)))
            case 2:
                table.asking(owner, query(rng.randrange(4)))
            case 3:
                table.writing_document(owner, document(str(rng.randrange(4)), rng.randrange(4)))
            case 4:
                table.writing_document(plain(), document(str(rng.randrange(4)), rng.randrange(4)))
            case 5:
                table.release(owner)
        for call in table.calls:
            if not call.done and call.go_on():
                table.written(names)
        for readers in table._readers.values():
            assert len(readers) == 1 or not any(reader.exclusive for reader in readers)
        if age % 8 == 0:  # nobody is left asleep who could go on
            for request in [one for requests in table._queue._by_owner.values() for one in requests]:
                assert table._blocked(request) or (request.waiter is not None and request.waiter.done)
    while table.calls:  # whoever has all that it asked for ends; if nobody has, they are stuck
        before = len(table.calls)
        for owner in {call.owner for call in table.calls}:
            calls = [call for call in table.calls if call.owner is owner]
            if sum(call.go_on() for call in calls) == len(calls):
                table.release(owner)
                table.written(names)
                table.calls = [call for call in table.calls if call.owner is not owner]
        assert len(table.calls) < before
    assert table.waiting == 0
