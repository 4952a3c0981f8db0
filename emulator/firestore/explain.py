"""Query Explain: which indexes a query is planned to use, and what running it took.

The plan names the indexes that production would use: those that exist by themselves, merged where equalities allow it,
or the composite one that the query needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from emulator.firestore import protos
from emulator.firestore.conjunctions import ANYTHING, Conjunction
from emulator.firestore.field_paths import Path, render_field_path
from emulator.firestore.query import Query
from emulator.firestore.query_filters import NAME


@dataclass(frozen=True, slots=True)
class Execution:
    """What running a query took: results, billed reads, and what was looked at.

    `index_reads` tells how many of the entries are billed; `duration` is in nanoseconds.
    """

    results: int
    reads: int
    documents: int
    entries: int
    index_reads: int
    duration_ns: int


def plan(query: Query) -> Any:
    """The ExplainMetrics of a query that is not run."""
    metrics = protos.ExplainMetrics()
    scope = "Collection group" if query.all_descendants or not query.collection_id else "Collection"
    for properties in dict.fromkeys(_indexes(query)):
        metrics.plan_summary.indexes_used.add().update({"query_scope": scope, "properties": properties})
    metrics.plan_summary.SetInParent()
    return metrics


def analysis(query: Query, execution: Execution) -> Any:
    """The ExplainMetrics of a query that was run."""
    metrics = plan(query)
    stats = metrics.execution_stats
    stats.results_returned = execution.results
    stats.read_operations = execution.reads
    # no query takes no time at all
    stats.execution_duration.FromNanoseconds(max(1_000, execution.duration_ns))
    stats.debug_stats.update(
        {
            "documents_scanned": str(execution.documents),
            "index_entries_scanned": str(execution.entries),
            "billing_details": {
                "documents_billable": str(execution.documents),
                "index_entries_billable": str(execution.index_reads),
                "small_ops": "0",
                "min_query_cost": "0",
            },
        }
    )
    return metrics


def _indexes(query: Query) -> Iterable[str]:
    for disjunct in query.condition.disjuncts or ANYTHING:
        yield from _indexes_of(query, disjunct)


def _indexes_of(query: Query, disjunct: Conjunction) -> Iterable[str]:
    """The indexes of one disjunct, as production writes them."""
    equal = dict.fromkeys(held.path for held in disjunct.equal if held.path != NAME)
    contained = dict.fromkeys(held.path for held in disjunct.contained)
    orders = [order for order in query.orders if order.path not in equal]
    leading = [f"{_text(path)} CONTAINS" for path in contained] + [
        f"{_text(path)} ASC" for path in sorted(equal)
    ]
    trailing = [f"{_text(order.path)} {'DESC' if order.descending else 'ASC'}" for order in orders]
    if query.nearest is not None:
        trailing.append(f"{_text(query.nearest.path)} VECTOR<{len(query.nearest.vector)}>")
    if len(orders) == 1 and len(leading) > 1 and query.nearest is None:
        # only the name orders what equalities found: their own indexes are merged
        return [f"({', '.join([one, *trailing])})" for one in leading]
    return [f"({', '.join([*leading, *trailing])})"]


def _text(path: Path) -> str:
    return render_field_path(path)
