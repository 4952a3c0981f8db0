"""The table: one row for each behaviour that Firestore's documentation describes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPICallError

from tests.emulator.firestore.conformance.calls import Call, batch_get, commit, put
from tests.emulator.firestore.conformance.plain import exact
from tests.emulator.firestore.conformance.ways import Way


@dataclass(frozen=True)
class Fails:
    """An error: its code, and what its message contains."""

    code: str
    message: str = ""


@dataclass(frozen=True)
class Row:
    """One behaviour.

    Attributes:
        id: a name for it.
        says: what the documentation says, in short.
        calls: what is done. All but the last one succeed.
        gives: what the last call shows, or how it fails.
        given: the documents that are there before, by path.
        leaves: what some documents are afterwards, by path; None: missing.
    """

    id: str
    says: str
    calls: list[Call]
    gives: Any
    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    leaves: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    async def check(self, way: Way) -> None:
        if self.given:
            await way.call(commit(*(put(path, content) for path, content in self.given.items())), [])
        seen: list[list[Any]] = []
        for call in self.calls[:-1]:
            seen.append(await way.call(call, seen))
        last = self.calls[-1]
        if isinstance(self.gives, Fails):
            with pytest.raises(GoogleAPICallError) as caught:
                await way.call(last, seen)
            assert caught.value.grpc_status_code.name == self.gives.code, (self.says, caught.value.message)
            assert self.gives.message in caught.value.message, self.says
        else:
            assert exact(last.show(await way.call(last, seen))) == exact(self.gives), self.says
        if self.leaves:
            look = batch_get(*self.leaves)
            left = dict(look.show(await way.call(look, [])))
            assert exact(left) == exact(self.leaves), self.says


def table(rows: list[Row]) -> Any:
    """Runs a test for each row."""
    assert len({row.id for row in rows}) == len(rows)
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.id)
