"""How a query is answered: one range of an index for each of its disjuncts, merged in the query's order."""

from __future__ import annotations

from dataclasses import dataclass

from emulator.firestore.conjunctions import Conjunction, Cut
from emulator.firestore.field_paths import Path
from emulator.firestore.query import Order, Query
from emulator.firestore.values import invert, successor


@dataclass(frozen=True, slots=True)
class IndexShape:
    """Which index it is: where its documents lie, and what its keys are made of.

    With `array`, each element of that field has an entry of its own, and its key comes first. Then come the `columns`,
    which end with a query's orders.
    """

    parent: str
    collection_id: str
    all_descendants: bool
    array: Path | None
    columns: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class Scan:
    """A range of an index: keys from `low` up to before `high`.

    `head` bytes of each key come before the keys of the query's orders; all scans of a query agree on what follows.
    Unless `exact`, the query's condition has to be asked of each document.
    """

    shape: IndexShape
    low: bytes
    high: bytes
    head: int
    exact: bool


def scans(query: Query) -> list[Scan]:
    """The scans whose union, without duplicates, is the query's result before offset and limit."""
    found = (_scan(query, disjunct) for disjunct in query.condition.disjuncts)
    return [scan for scan in found if scan is not None]


def _scan(query: Query, disjunct: Conjunction) -> Scan | None:
    """The scan of a disjunct; None where nothing can satisfy it."""
    equal: dict[Path, bytes] = {}
    for path, key in disjunct.equal:
        if equal.setdefault(path, key) != key:
            return None
    exact = disjunct.exact
    array: Path | None = None
    head = b""
    if disjunct.contained:
        array, head = disjunct.contained[0]
        exact = exact and len(set(disjunct.contained)) == 1
    # an order by a field that is known is no order: its key belongs to what all entries of the range begin with
    known = b""
    ahead = 0
    while ahead < len(query.orders) and (found := equal.get(query.orders[ahead].path)) is not None:
        known += invert(found) if query.orders[ahead].descending else found
        ahead += 1
    in_orders = {order.path for order in query.orders[:ahead]}
    leading = sorted(path for path in equal if path not in in_orders)
    head += b"".join(equal[path] for path in leading)
    prefix = head + known
    low, high = prefix, successor(prefix)
    first = query.orders[ahead] if ahead < len(query.orders) else None
    for span in disjunct.spans:
        if first is None or span.path != first.path:
            exact = False
            continue
        ends = (span.high, span.low) if first.descending else (span.low, span.high)
        low = max(low, prefix + ends[0].position(first.descending))
        high = min(high, prefix + ends[1].position(first.descending))
    if query.start is not None:
        low = max(low, Cut(head + b"".join(query.start.keys), not query.start.before).position(False))
    if query.end is not None:
        high = min(high, Cut(head + b"".join(query.end.keys), not query.end.before).position(False))
    if low >= high:
        return None
    columns = tuple(Order(path, False) for path in leading) + query.orders
    shape = IndexShape(query.parent, query.collection_id, query.all_descendants, array, columns)
    return Scan(shape, low, high, len(head), exact)
