"""Adding one item together with other writes, in one commit: all of it or none.

What `adding` promises holds here too: each step may be repeated after any failure, an own resend is no duplicate, and
an expired tombstone is revived. The other writes are carried out with the one commit that adds the item, and not at
all where it is a duplicate. A resend of that commit fails on the item, whatever has become of the other documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from grpc import StatusCode

from dsset import documents
from dsset.adding import LOOK_AT, Adding
from dsset.clock import Clock
from dsset.items import Item
from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire


@dataclass(frozen=True, slots=True)
class Added:
    """What became of it.

    `new` is whether this call added the item. `commit_time` is the server's time of the commit that did, None where its
    answer was lost (or nothing was added).
    """

    new: bool
    commit_time: datetime | None


async def add_together(
    wire: Wire,
    name: str,
    item: Item,
    token: bytes,
    others: Sequence[Any],
    *,
    tombstones_delay: timedelta,
    clock: Clock,
    rng: Random,
    timeout: timedelta,
) -> Added:
    """Add the item and carry out the other writes, which must bear no preconditions, or do nothing at all.

    One Commit; where something lies there already, one read and one more RPC.
    """
    adding = Adding(name, item)
    backoff = Backoff(clock, rng, timeout)
    commit_time: datetime | None = None
    while adding.outcome is None:
        try:
            response = await wire.commit([adding.write(token), *others], timeout=backoff.attempt_timeout)
            adding.written(StatusCode.OK, "")
            commit_time = documents.moment(response.commit_time)
        except GoogleAPICallError as error:
            if adding.written(error.grpc_status_code or StatusCode.UNKNOWN, str(error)):
                if not await backoff.wait():
                    raise
            elif isinstance(adding.outcome, GoogleAPICallError):
                raise
        if adding.looks:
            responses = await retry_transient(
                lambda seconds: wire.batch_get([name], mask=LOOK_AT, timeout=seconds), backoff
            )
            adding.looked(responses[name], token, tombstones_delay)
    return Added(bool(adding.outcome), commit_time)
