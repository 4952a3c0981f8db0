"""The runs of `benchmarks.sources` measure what they say."""

from __future__ import annotations

from benchmarks import sources


async def test_ingestion_reads_nothing_and_commits_less_than_once_a_block() -> None:
    figures = await sources.ingestion(1, 100)
    assert figures.reads == 0
    assert figures.commits < 0.5


async def test_the_plain_way_takes_five_round_trips_a_block() -> None:
    figures = await sources.plainly(0, 5)
    assert (figures.round_trips, figures.commits, figures.reads) == (5, 1, 2)
