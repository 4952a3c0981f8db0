"""What an index can answer of a query's condition: its disjunctive normal form, in terms of ranges of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from emulator.firestore.field_paths import Path
from emulator.firestore.values import invert, successor


class Cut(NamedTuple):
    """A place between keys: before all that begin with a prefix, or behind them."""

    prefix: bytes
    behind: bool

    def position(self, descending: bool) -> bytes:
        """The least bytes that lie behind this place, among keys or among inverted ones."""
        prefix = invert(self.prefix) if descending else self.prefix
        return successor(prefix) if self.behind != descending else prefix


class Span(NamedTuple):
    """A field's key lies between two places."""

    path: Path
    low: Cut
    high: Cut


class Held(NamedTuple):
    """A field has this key, or is an array with an element that has it."""

    path: Path
    key: bytes


@dataclass(frozen=True, slots=True)
class Conjunction:
    """Conditions that all hold; `exact` tells that a document for which they do satisfies the whole."""

    equal: tuple[Held, ...] = ()
    contained: tuple[Held, ...] = ()
    spans: tuple[Span, ...] = ()
    exact: bool = True

    def with_all(self, other: Conjunction) -> Conjunction:
        """The conjunction of both."""
        return Conjunction(
            self.equal + other.equal,
            self.contained + other.contained,
            self.spans + other.spans,
            self.exact and other.exact,
        )


Disjuncts = tuple[Conjunction, ...]

MAX_DISJUNCTS = 30
"""Production's limit of a query's disjuncts, and how many ranges are merged for one query here."""

ANYTHING: Disjuncts = (Conjunction(),)
UNKNOWN: Disjuncts = (Conjunction(exact=False),)


def either(parts: list[Disjuncts]) -> Disjuncts:
    """The disjuncts of an OR; `UNKNOWN` where there are too many to merge."""
    if sum(map(len, parts)) > MAX_DISJUNCTS:
        return UNKNOWN
    return tuple(disjunct for part in parts for disjunct in part)


def all_of(parts: list[Disjuncts]) -> Disjuncts:
    """The disjuncts of an AND: every choice of one of each part.

    A part that would make too many of them is left to be asked of each document.
    """
    result = ANYTHING
    for part in sorted(parts, key=len):
        factor = part if len(result) * len(part) <= MAX_DISJUNCTS else UNKNOWN
        result = tuple(one.with_all(other) for one in result for other in factor)
    return result
