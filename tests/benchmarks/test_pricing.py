"""What a load costs: the formula is that of the cost table, and the page has its numbers."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner

from benchmarks import pricing
from benchmarks.cost_rows import rows
from benchmarks.daily_bill import Load, Prices, day
from benchmarks.service_limits import limits
from benchmarks.wire_cost import Wire

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
