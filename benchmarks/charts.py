"""Small charts as SVG: panels side by side, with lines or groups of bars, on one scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 230, 190  # of a panel's plot, in pixels
_LEFT, _TOP, _BETWEEN, _BELOW = 62, 74, 28, 46
_INK, _FAINT = "#333", "#ddd"

Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Series:
    """One contender's values, in the order of its panel's labels; None where there is none."""

    name: str
    colour: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """What stands side by side in a chart."""

    title: str
    labels: Sequence[str]
    series: Sequence[Series]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. `across` and `unit` are what the axes are named by; `limit` is a line that is not to be crossed."""

    title: str
    panels: Sequence[Panel]
    across: str
    unit: str
    logarithmic: bool = False
    bars: bool = False
    limit: float | None = None

    def svg(self) -> str:
        """The picture."""
        ticks = self._ticks()
        width = _LEFT + len(self.panels) * (_WIDTH + _BETWEEN)
        height = _TOP + _HEIGHT + _BELOW
        style = f'font-family="Helvetica, Arial, sans-serif" font-size="11" fill="{_INK}"'
        size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            _text(12, 20, self.title, size=14, weight="bold"),
            *self._legend(),
        ]
        for number, panel in enumerate(self.panels):
            left = _LEFT + number * (_WIDTH + _BETWEEN)
            parts += self._panel(panel, left, ticks, first=number == 0)
        parts.append("</svg>")
        return "\n".join(parts) + "\n"

    def _panel(self, panel: Panel, left: float, ticks: Sequence[float], *, first: bool) -> Iterator[str]:
        scale = self._scale(ticks)
        yield _text(left + _WIDTH / 2, _TOP - 8, panel.title, anchor="middle", weight="bold")
        for tick in ticks:
            y = scale(tick)
            yield _line(left, y, left + _WIDTH, y, _FAINT)
            if first:
                yield _text(left - 6, y + 4, _number(tick), anchor="end")
        if first:
            yield (
                f'<text transform="translate(14 {_TOP + _HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
                f"{escape(self.unit)}</text>"
            )
        if self.limit is not None:
            y = scale(self.limit)
            yield _line(left, y, left + _WIDTH, y, "#c33", dashes="5 4")
        step = _WIDTH / len(panel.labels)
        for position, label in enumerate(panel.labels):
            yield _text(left + (position + 0.5) * step, _TOP + _HEIGHT + 16, label, anchor="middle")
        yield _text(left + _WIDTH / 2, _TOP + _HEIGHT + 34, self.across, anchor="middle")
        yield from (self._bars if self.bars else self._lines)(panel, left, step, scale)
        yield _line(left, _TOP + _HEIGHT, left + _WIDTH, _TOP + _HEIGHT, _INK)

    def _lines(self, panel: Panel, left: float, step: float, scale: Scale) -> Iterator[str]:
        for series in panel.series:
            points = [
                (left + (position + 0.5) * step, scale(value))
                for position, value in enumerate(series.values)
                if value is not None
            ]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            yield f'<polyline points="{path}" fill="none" stroke="{series.colour}" stroke-width="2"/>'
            for x, y in points:
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{series.colour}"/>'

    def _bars(self, panel: Panel, left: float, step: float, scale: Scale) -> Iterator[str]:
        width = step * 0.8 / len(panel.series)
        for number, series in enumerate(panel.series):
            for position, value in enumerate(series.values):
                if value is None:
                    continue
                x, y = left + (position + 0.1) * step + number * width, scale(value)
                yield (
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{width - 1:.1f}" height="{_TOP + _HEIGHT - y:.1f}" '
                    f'fill="{series.colour}"/>'
                )
                yield _text(x + width / 2, y - 3, _short(value), anchor="middle", size=8)

    def _legend(self) -> Iterator[str]:
        x = 12.0
        names = {series.name: series.colour for panel in self.panels for series in panel.series}
        for name, colour in names.items() if len(names) > 1 else ():
            yield f'<rect x="{x}" y="32" width="11" height="11" fill="{colour}"/>'
            yield _text(x + 16, 42, name)
            x += 34 + 6.2 * len(name)

    def _ticks(self) -> list[float]:
        values = [
            value
            for panel in self.panels
            for series in panel.series
            for value in series.values
            if value is not None
        ]
        least, most = min(values), max([*values, self.limit or 0])
        if self.logarithmic:
            first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
            return [10.0**power for power in range(first, max(last, first + 1) + 1)]
        step = 10.0 ** math.floor(math.log10(most))
        step = next(step * part for part in (0.1, 0.2, 0.5, 1) if most / (step * part) <= 8)
        return [round(step * n, 9) for n in range(math.ceil(most / step) + 1)]

    def _scale(self, ticks: Sequence[float]) -> Scale:
        form: Callable[[float], float] = math.log10 if self.logarithmic else float
        least, most = form(ticks[0]), form(ticks[-1])
        return lambda value: _TOP + _HEIGHT * (1 - (form(value) - least) / (most - least))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _short(value: float) -> str:
    """Three digits or four, for there is little room above a bar."""
    if value < 1:
        return f"{value:.2g}"
    if value < 10_000:
        return f"{value:,.0f}"
    return f"{value / 1_000:,.1f}k" if value < 100_000 else f"{value / 1_000:,.0f}k"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashes: str = "") -> str:
    more = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", size: int = 11, weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
