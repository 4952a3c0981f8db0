"""What the benchmarks that run beside a floor and the plain ways are to reach."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """Bounds of two ratios; None where there is none."""

    of_floor: float | None = None
    """Ours takes at most so many times as long as the floor."""
    than_plain: float | None = None
    """Ours is at least so many times as fast as the fastest plain way."""

    def meets_floor(self, ratio: float) -> bool:
        """Whether ours, by the floor, is as it should be, to two digits behind the point."""
        return self.of_floor is None or round(ratio, 2) <= self.of_floor

    def meets_plain(self, ratio: float) -> bool:
        """Whether plain, by ours, is as it should be."""
        return self.than_plain is None or round(ratio, 2) >= self.than_plain

    def floor_cell(self, ratio: float) -> str:
        """The ratio of ours to the floor, and its bound."""
        return _cell(ratio, self.of_floor, "≤", met=self.meets_floor(ratio))

    def plain_cell(self, ratio: float) -> str:
        """The ratio of plain to ours, and its bound."""
        return _cell(ratio, self.than_plain, "≥", met=self.meets_plain(ratio))


def goal(benchmark: str, latency_ms: int, events: int) -> Goal:
    """What a row is to reach."""
    if benchmark == "process_batch":
        of_floor = (
            {1: 1.6, 100: 1.3, 1_000: 1.3}.get(events)
            if latency_ms == 0
            else (1.05 if events <= 100 else 1.15 if events <= 1_000 else None)
        )
        return Goal(of_floor, {0: 1.6, 10: 1.4}.get(latency_ms))
    if benchmark == "drain" and latency_ms == 10:
        return Goal(None, {10: 2.7, 100: 2.7, 1_000: 2.2}.get(events))
    if benchmark == "emit":
        return Goal(of_floor=1.2)
    if benchmark == "emit_shared" and latency_ms == 0:
        return Goal(than_plain=8)
    return Goal()


def _cell(ratio: float, bound: float | None, sign: str, *, met: bool) -> str:
    if bound is None:
        return f"{ratio:.2f}"
    return f"{ratio:.2f} {sign} {bound:g}" if met else f"{ratio:.2f}, not {sign} {bound:g}"
