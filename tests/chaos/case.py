"""`Case`: the evidence, sorted by what it tells of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from tests.chaos.accounts import credit_id, trace_id
from tests.chaos.acts import Act, Order
from tests.chaos.evidence import Evidence
from tests.chaos.ingesting import order_of


class Trace(NamedTuple):
    """How often an event was applied, and by which transitions."""

    n: int
    by: list[str]


@dataclass(frozen=True)
class Case:
    """What the judge looks at."""

    evidence: Evidence

    @cached_property
    def acts(self) -> dict[str, Act]:
        """All that producers meant to do, by their IDs."""
        intended = (one for one in self.evidence.records if one.what == "intended")
        return {record["act"]["id"]: Act.of(record["act"]) for record in intended}

    @cached_property
    def attempts(self) -> Counter[str]:
        """How often each act was begun."""
        return Counter(one["act"]["id"] for one in self.evidence.records if one.what == "intended")

    @cached_property
    def acknowledged(self) -> dict[str, list[str]]:
        """The acts that are done as far as their producers know, and which events they were told to be duplicates."""
        return {one["id"]: one["duplicates"] for one in self.evidence.records if one.what == "acknowledged"}

    @cached_property
    def traces(self) -> dict[str, Trace]:
        """Of each event that was applied."""
        return {
            path.removeprefix("traces/"): Trace(fields.get("n", 0), list(fields.get("by", ())))
            for path, fields in self.evidence.documents.items()
            if path.startswith("traces/")
        }

    @cached_property
    def orders(self) -> dict[str, Order]:
        """Every event that there may be, by the ID of its trace: credits follow from transfers that were applied."""
        orders = [order for act in self.acts.values() for order in act.orders]
        orders += (order_of(block, self.evidence.paths) for block in range(1, self.evidence.blocks + 1))
        orders += [
            Order(credit_id(order), order.to, "credit", order.amount)
            for order in orders
            if order.do == "transfer" and self.applied(order)
        ]
        return {trace_id(order.at, order.id): order for order in orders}

    @cached_property
    def markers(self) -> set[str]:
        """The transactions that were committed."""
        return self._ids("markers/")

    @cached_property
    def tasks(self) -> set[str]:
        """The transactions whose task ran."""
        return self._ids("tasks/")

    def applied(self, order: Order) -> bool:
        """Whether an event was."""
        return trace_id(order.at, order.id) in self.traces

    def _ids(self, prefix: str) -> set[str]:
        return {path.removeprefix(prefix) for path in self.evidence.documents if path.startswith(prefix)}
