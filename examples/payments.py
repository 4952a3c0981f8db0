"""Payments in an event log: a follower counts them, and what they took is joined and drawn. It takes a second."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random

from google.cloud.firestore import Increment

from emulator.firestore import Emulator
from eventbox import EventBox, Transaction
from eventbox.log import EventLog, LogEntry, LogEvent, PairStatistics, join_events
from eventbox.testing import ManualClock


class Started(LogEvent):
    kind = "payment-started"
    module = "payments"

    payment: int
    cents: int


class Succeeded(LogEvent):
    kind = "payment-succeeded"
    module = "payments"

    payment: int


class Failed(LogEvent):
    kind = "payment-failed"
    module = "payments"

    payment: int


async def pay(log: EventLog, clock: ManualClock, rng: Random, payment: int) -> None:
    """One payment: most succeed, after half a second or so, and some fail, after a longer while."""
    await log.append_event(Started(payment=payment, cents=rng.randrange(100, 10_000)), module_id=1)
    succeeds = rng.random() < 0.9
    await clock.sleep(timedelta(seconds=rng.lognormvariate(-0.7 if succeeds else 0.8, 0.6)))
    await log.append_event((Succeeded if succeeds else Failed)(payment=payment), module_id=1)


def statistics(entries: list[LogEntry]) -> PairStatistics:
    """How long the payments took."""

    def succeeded(start: Started, end: Succeeded, took: timedelta) -> tuple[timedelta, int] | None:
        return (took, start.cents) if start.payment == end.payment else None

    def failed(start: Started, end: Failed, took: timedelta) -> timedelta | None:
        return took if start.payment == end.payment else None

    within = timedelta(minutes=1)
    return PairStatistics.of(
        join_events(
            entries, entries, succeeded, left_type=Started, right_type=Succeeded, max_time_distance=within
        ),
        join_events(entries, entries, failed, left_type=Started, right_type=Failed, max_time_distance=within),
    )


def draw(title: str, latencies: list[timedelta], rows: int = 12, width: int = 50) -> None:
    """A bar for each stretch of time."""
    print(f"{title}: {len(latencies)}")
    stretch = max(latencies, default=timedelta(0)) / rows + timedelta(microseconds=1)
    counts = [0] * rows
    for latency in latencies:
        counts[latency // stretch] += 1
    for n, count in enumerate(counts):
        bar = "█" * round(count * width / max(*counts, 1))
        print(f"  from {(n * stretch).total_seconds():5.2f} s  {bar} {count or ''}")


async def main() -> None:
    clock = ManualClock()  # so that the payments' seconds need not be waited for
    client = Emulator(clock=clock).client()  # in production: google.cloud.firestore.AsyncClient()
    log = EventLog(EventBox(client, clock=clock), client.document("logs/payments"))

    rng = Random(7)
    payments = asyncio.gather(*(pay(log, clock, rng, payment) for payment in range(300)))
    while not payments.done():
        clock.advance(timedelta(milliseconds=10))
        for _ in range(5):
            await asyncio.sleep(0)
    while await log.order():
        pass

    totals = client.document("totals/payments")

    async def count(transaction: Transaction, entry: LogEntry) -> None:
        transaction.set(totals, {entry.kind: Increment(1)}, merge=True)

    await log.handle_events("totals", count, until_idle=True, batch=100)
    print((await totals.get()).to_dict())

    found = statistics(await log.read(limit=10_000))
    draw("succeeded", found.latencies)
    draw("failed", found.failure_latencies)
    for p in (50, 90, 99):
        took = found.percentile(p)
        assert took is not None
        print(f"{p} % of those that succeeded took at most {took.total_seconds():.2f} s")
    print(f"{sum(found.amounts) / 100:,.2f} were paid")


if __name__ == "__main__":
    asyncio.run(main())
