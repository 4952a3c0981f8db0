"""Metrics of ingestion, by OpenTelemetry's API; each has the attribute `eventbox.ingestor`.

eventbox.ingestion.commits          commits, of any number of blocks
eventbox.ingestion.blocks           blocks in them
eventbox.ingestion.restarts         how often it went back to the latest committed block
eventbox.ingestion.last_committed   the latest committed block, by the ingestor's `pointer_metric`
"""

from __future__ import annotations

from opentelemetry import metrics


class IngestionMetrics:
    """The instruments of one run."""

    def __init__(self, ingestor: str, meter_provider: metrics.MeterProvider | None) -> None:
        meter = metrics.get_meter("eventbox", meter_provider=meter_provider)
        self._attributes = {"eventbox.ingestor": ingestor}
        self._commits = meter.create_counter("eventbox.ingestion.commits", "{commit}", "Commits of blocks")
        self._blocks = meter.create_counter("eventbox.ingestion.blocks", "{block}", "Blocks committed")
        self._restarts = meter.create_counter(
            "eventbox.ingestion.restarts", "{restart}", "Restarts from the latest committed block"
        )
        self._last_committed = meter.create_gauge(
            "eventbox.ingestion.last_committed", "1", "The latest committed block, as a number"
        )

    def committed(self, blocks: int, position: int) -> None:
        self._commits.add(1, self._attributes)
        self._blocks.add(blocks, self._attributes)
        self._last_committed.set(position, self._attributes)

    def restarted(self) -> None:
        self._restarts.add(1, self._attributes)
