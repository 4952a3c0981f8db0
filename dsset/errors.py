"""The errors of dsset.

DSSetError
    AddError    some items of an `add` could not be added

Bad arguments are ValueError or TypeError, raised before any RPC is made; what Firestore itself refuses comes as
google.api_core raises it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType


class DSSetError(Exception):
    """The base of dsset's own errors."""


class AddError(DSSetError):
    """Some items could not be added, though transient errors were retried until the time-out.

    `results` has, for each item in order, what `add` would have returned (True: new), or None where it is not known
    to be in the set; `errors` maps the positions of those to what Firestore said. Adding them again with the same IDs
    is safe. The first of the errors is the `__cause__`.
    """

    def __init__(self, results: Sequence[bool | None], errors: Mapping[int, Exception]) -> None:
        super().__init__(results, errors)
        self.results = tuple(results)
        self.errors = MappingProxyType(dict(errors))

    def __str__(self) -> str:
        first = next(iter(self.errors.values()), None)
        return (
            f"{len(self.errors)} of {len(self.results)} items could not be added (adding them again with the same IDs "
            f"is safe); the first error: {first}"
        )

    def __reduce__(self) -> tuple[type[AddError], tuple[object, ...]]:
        return AddError, (self.results, dict(self.errors))
