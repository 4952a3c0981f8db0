"""How the time of an event grows with what there is: each run measures one kind of growth at several sizes.

Each size has a database of its own in one emulator, and the sizes take turns, so that what disturbs one disturbs
all. Times are of one event in a batch that consumes all that it lists.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.cloud.firestore import AsyncClient, AsyncDocumentReference

from benchmarks.contest import Budget, medians
from benchmarks.filling import Filling
from benchmarks.pinning import connected, pinned_emulator
from benchmarks.process_batch import VALUE, Count
from eventbox import EventBox, Recipient

LIMIT = 1.3
"""What an event may cost at any size, by what it costs at the smallest."""

_FEW = 10  # events a batch, where their number is not what grows
_IN_A_ROW = 5

Work = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Growth:
    """The time of an event, in microseconds, at each size, in batches of so many events."""

    figure: str
    sizes: tuple[int, ...]
    events: tuple[int, ...]
    us_per_event: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """The time at each size by that at the smallest."""
        return tuple(round(took / self.us_per_event[0], 3) for took in self.us_per_event)

    @property
    def within(self) -> bool:
        """Whether it does not rise."""
        return max(self.ratios) <= LIMIT


class Place:
    """One database of an emulator, with recipients in it."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.filling = Filling(client)
        self._box = EventBox(client)

    def ref(self, number: int = 0) -> AsyncDocumentReference:
        """A recipient's document."""
        return self.client.document(f"accounts/{number}")

    async def batch(self, number: int, events: int) -> None:
        """Consume so many events of a recipient."""
        recipient = Recipient(self.ref(number), "account")
        processor = Count(recipient)
        await self._box.process_batch(recipient, processor, max_events=events)


async def events_per_batch(sizes: Sequence[int], turns: int, budget: Budget) -> Growth:
    """Batches of 10 to 10,000 events: each listing, and each commit, holds so many."""
    async with _places(sizes) as places:

        async def prepare(size: int, _turn: int) -> Work:
            in_a_row = max(1, 200 // size)
            await places[size].filling.events([places[size].ref()], size * in_a_row, VALUE)
            return _in_a_row(partial(places[size].batch, 0, size), in_a_row)

        return await _growth(
            "events a batch",
            sizes,
            prepare,
            turns,
            budget,
            events=tuple(sizes),
            in_a_row=lambda size: max(1, 200 // size),
        )


async def recipients(sizes: Sequence[int], turns: int, budget: Budget) -> Growth:
    """Batches of 10 events, each of the next one of 1 to 10,000 recipients, all of which have as many outstanding."""
    async with _places(sizes) as places:
        rounds = {size: itertools.cycle(range(size)) for size in sizes}
        for size, place in places.items():
            await place.filling.events(map(place.ref, range(size)), _FEW, VALUE)

        async def prepare(size: int, _turn: int) -> Work:
            numbers = list(itertools.islice(rounds[size], _IN_A_ROW))

            async def run() -> None:
                for number in numbers:
                    await places[size].batch(number, _FEW)

            # what was consumed in a turn is there again in the next
            await places[size].filling.events(map(places[size].ref, numbers), _FEW, VALUE)
            return run

        return await _growth("recipients", sizes, prepare, turns, budget, in_a_row=lambda _: _IN_A_ROW)


async def tombstones(sizes: Sequence[int], turns: int, budget: Budget) -> Growth:
    """Batches of 100 events of a recipient who consumed 0 to 1,000,000 within the last day."""
    each = 100
    async with _places(sizes) as places:
        for size, place in places.items():
            await place.filling.tombstones(place.ref(), size)

        async def prepare(size: int, _turn: int) -> Work:
            await places[size].filling.events([places[size].ref()], each, VALUE)
            return partial(places[size].batch, 0, each)

        return await _growth("tombstones", sizes, prepare, turns, budget, events=(each,) * len(sizes))


async def outstanding(sizes: Sequence[int], turns: int, budget: Budget) -> Growth:
    """Batches of at most 10 events of a recipient who has 10 to 100,000."""
    async with _places(sizes) as places:
        # the next batch of one who has few would be an empty one, so there are several of them
        numbers = {size: [n if size < _FEW * _IN_A_ROW else 0 for n in range(_IN_A_ROW)] for size in sizes}
        for size, place in places.items():
            await place.filling.events(map(place.ref, set(numbers[size])), size - _FEW, VALUE)

        async def prepare(size: int, _turn: int) -> Work:
            place = places[size]

            async def run() -> None:
                for number in numbers[size]:
                    await place.batch(number, _FEW)

            await place.filling.events(map(place.ref, numbers[size]), _FEW, VALUE)
            return run

        return await _growth("outstanding", sizes, prepare, turns, budget, in_a_row=lambda _: _IN_A_ROW)


async def _growth(
    figure: str,
    sizes: Sequence[int],
    prepare: Callable[[int, int], Awaitable[Work]],
    turns: int,
    budget: Budget,
    *,
    events: tuple[int, ...] = (),
    in_a_row: Callable[[int], int] = lambda _: 1,
) -> Growth:
    events = events or (_FEW,) * len(sizes)
    found = await medians({str(size): partial(prepare, size) for size in sizes}, turns, until=budget.next())
    times = tuple(
        round(found[str(size)] * 1_000 / (each * in_a_row(size)), 1)
        for size, each in zip(sizes, events, strict=True)
    )
    return Growth(figure, tuple(sizes), events, times)


@asynccontextmanager
async def _places(sizes: Sequence[int]) -> AsyncIterator[dict[int, Place]]:
    """An emulator of its own, with a database for each size."""
    async with pinned_emulator() as process, AsyncExitStack() as stack:
        yield {
            size: Place(await stack.enter_async_context(connected(process.address, f"size-{size}")))
            for size in sizes
        }


def _in_a_row(work: Work, times: int) -> Work:
    async def run() -> None:
        for _ in range(times):
            await work()

    return run
