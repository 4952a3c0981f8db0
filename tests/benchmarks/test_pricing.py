"""What a load costs: the formula is that of the cost table, and the page has its numbers."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from benchmarks import pricing
from benchmarks.cost_rows import rows
from benchmarks.daily_bill import Load, Prices, day
from benchmarks.filling import INBOX
from benchmarks.floor import Floor
from benchmarks.process_batch import Count
from benchmarks.service_limits import CONSUMED_EVENT_BYTES, Limit, limits
from benchmarks.wire_cost import Wire
from emulator.firestore import Emulator
from eventbox import EventBox, NewEvent, Recipient
from eventbox.tasks import Auth, Worker
from tests.eventbox.tasks.world import TARGET, World

SECONDS = 86_400


def amounts(load: Load) -> dict[str, float]:
    return {one.what: one.amount / SECONDS for one in day(load, Prices())}


async def test_a_batch_and_its_emits_cost_what_is_counted() -> None:
    """10 events a second for one recipient are one batch a second, near enough."""
    found = amounts(Load(events_per_s=10, recipients=1, reminders=False))
    table = {row.name: row for row in rows()}
    emits = await table["emit_many"].ours(Wire(), 10)
    batch = await table["process_batch, DocumentProcessor"].ours(Wire(), 10)
    assert found["Firestore reads"] == pytest.approx(emits.reads + batch.reads, rel=1e-4)
    assert found["Firestore writes"] == pytest.approx(emits.writes + batch.writes, rel=1e-4)
    assert found["Firestore deletes"] == 10  # by TTL
    assert found["Cloud Run requests"] == pytest.approx(1, rel=1e-4)


async def test_sends_and_the_wake_up_cost_what_both_services_count() -> None:
    """4 events a second for one recipient are one wake-up and one batch a second, near enough."""
    async with World() as world:
        process = world.process()
        worker = Worker(process.box, process.queue, auth=Auth.none())
        worker.recipient("orders/{id}", lambda recipient, _: Count(recipient), monitoring_string="order")
        world.tasks.mount(TARGET, worker.app)
        for _ in range(4):
            await process.queue.send(b"x", process.order())
        await process.queue.flush()
        await world.deliver()
        firestore, tasks = world.firestore.counts, world.tasks.counts
    found = amounts(Load(events_per_s=4, recipients=1, emitters=1))
    assert found["Firestore reads"] == pytest.approx(firestore.reads, rel=0.02)
    assert found["Firestore writes"] == pytest.approx(firestore.writes, rel=0.02)
    assert found["Firestore deletes"] == firestore.deletes + 4  # of tombstones, by TTL, a day later
    operations = sum(tasks.rpcs.values()) + tasks.dispatches
    assert found["Cloud Tasks operations"] == pytest.approx(operations, rel=0.02)
    assert found["Cloud Run requests"] == pytest.approx(tasks.dispatches, rel=0.02)


def test_a_send_costs_a_reminder_besides() -> None:
    sent, emitted = amounts(Load()), amounts(Load(reminders=False))
    assert sent["Firestore writes"] - emitted["Firestore writes"] == pytest.approx(10_000)
    assert sent["Firestore deletes"] - emitted["Firestore deletes"] == pytest.approx(10_000)
    assert sent["Cloud Tasks operations"] == emitted["Cloud Tasks operations"]


def test_events_of_a_recipient_share_a_batch_where_they_come_within_its_time() -> None:
    assert Load(events_per_s=1, recipients=1_000_000).events_per_batch == pytest.approx(1, abs=1e-5)
    assert Load(events_per_s=1_000, recipients=1).events_per_batch == pytest.approx(1_000)
    assert Load(events_per_s=1, recipients=1, gathering_s=60).events_per_batch == pytest.approx(60)


def test_each_process_makes_sure_of_a_wake_up_once() -> None:
    one = Load(events_per_s=1_000, recipients=1, emitters=5)
    assert one.creations_per_s == pytest.approx(5)
    assert Load(events_per_s=1, recipients=1_000_000).creations_per_s == pytest.approx(1, rel=1e-5)


def test_a_price_counts_for_its_unit() -> None:
    free = Prices(*[0.0] * 8)
    assert sum(one.usd for one in day(Load(), free)) == 0
    (writes,) = [one for one in day(Load(), Prices()) if one.what == "Firestore writes"]
    assert writes.usd == pytest.approx(writes.amount / 100_000 * 0.18)


def test_a_request_is_paid_for_as_long_as_cloud_run_counts_it_and_shared_by_those_at_one_time() -> None:
    alone = Load(events_per_s=0.01, recipients=1_000_000)
    assert amounts(alone)["Cloud Run vCPU seconds"] == pytest.approx(0.01 * 0.1, rel=1e-3)
    together = Load(events_per_s=10_000, recipients=1_000_000)
    work = (together.batches_per_s * 0.004 + 10_000 * 0.0001) / 0.6
    assert amounts(together)["Cloud Run vCPU seconds"] == pytest.approx(work)


def test_a_recipient_with_more_than_a_batch_a_second_writes_its_state_for_each() -> None:
    def saves(load: Load) -> Limit:
        return next(one for one in limits(load) if "one document" in one.what)

    assert saves(Load(events_per_s=1_000, recipients=1)).used == pytest.approx(1)
    busy = saves(Load(events_per_s=3_000, recipients=1))
    assert busy.used == pytest.approx(3)
    assert "max_events" in busy.remedy


async def test_a_consumed_event_takes_as_much_of_a_commit_as_the_limit_says() -> None:
    client = Emulator().client("a-project-123")
    orders = Recipient(client.document("orders/1234567"), "order")
    await orders.ref.set({"total": 1, "eventbox_eversion": 1})
    await EventBox(client).emit_many([NewEvent(b"v" * 5_000) for _ in range(100)], orders)
    prepared = await Floor(client).prepare_batch(orders.ref._document_path, INBOX, 100)
    assert len(prepared._commit) / 100 == pytest.approx(CONSUMED_EVENT_BYTES, rel=0.05)


@pytest.mark.parametrize(
    ("option", "given", "message"),
    [
        ("events-per-s", "0", "events_per_s must be more than 0"),
        ("recipients", "-1", "recipients must be a number from 0 up, not -1"),
        ("active", "1.5", "active is a share, at most 1, not 1.5"),
        ("batch-cpu-ms", "inf", "batch_cpu_ms must be a number from 0 up, not inf"),
        ("writes", "nan", "writes must be a number from 0 up, not nan"),
    ],
)
def test_a_number_that_cannot_be_is_refused(option: str, given: str, message: str) -> None:
    done = CliRunner().invoke(pricing.main, [f"--{option}", given])
    assert done.exit_code == 2
    assert message in done.output


def test_a_small_bill_has_cents() -> None:
    total = sum(one.usd for one in day(Load(events_per_s=1, recipients=1_000), Prices()))
    output = CliRunner().invoke(pricing.main, ["--events-per-s", "1", "--recipients", "1000"]).output
    assert f"**{total:.2f}**" in output
    assert "1 queues" not in output


def test_the_limit_that_is_met_first_comes_first() -> None:
    shares = [one.share for one in limits(Load())]
    assert shares == sorted(shares, reverse=True)
    queue = next(one for one in limits(Load()) if "dispatches" in one.what)
    assert queue.used == pytest.approx(9_950, abs=1)
    assert queue.remedy.startswith(f"{math.ceil(9_950 / 500 * 1.5)} queues")


def test_the_page_has_the_numbers_of_the_formula() -> None:
    page = pricing.PAGE.read_text(encoding="utf-8")
    assert page.count("<!-- pricing:") == 3
    assert pricing.rewrite(page) == page, "run `python -m benchmarks.pricing --write`"


def test_the_command_takes_every_input() -> None:
    done = CliRunner().invoke(
        pricing.main,
        ["--json", "--events-per-s", "10", "--recipients", "1", "--no-reminders", "--reads", "1"],
    )
    found = json.loads(done.stdout)
    assert found["batches_per_s"] == pytest.approx(1, rel=1e-4)
    assert found["day"][0] == {
        "what": "Firestore reads",
        "amount": pytest.approx(11 * SECONDS, rel=1e-4),
        "usd": pytest.approx(11 * SECONDS / 1e5, rel=1e-4),
    }
    assert "a million" not in done.stdout
    assert "Firestore writes" in CliRunner().invoke(pricing.main, []).stdout
