"""A follower's cursor: a document of its own, which each of the follower's transactions moves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.cloud.firestore_v1.async_document import AsyncDocumentReference

from dsset import protos
from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire
from eventbox.box import EventBox
from eventbox.commit import Outcome
from eventbox.log.head import TIMEOUT
from eventbox.log.track import Track
from eventbox.transaction import Transaction

MAX_FOLLOWER_BYTES = 256


@dataclass(frozen=True, slots=True)
class Cursor:
    """The next position that a follower handles. `version` is the document's update time; None: there is none."""

    position: int
    version: Any | None


class CursorDocument:
    """One follower's cursor on one of a log's tracks."""

    def __init__(
        self,
        box: EventBox,
        ref: AsyncDocumentReference,
        track: Track,
        follower: str,
        *,
        patience: timedelta = TIMEOUT,
    ) -> None:
        self._box = box
        self._name = f"{ref._document_path}/{track.cursors}/{check_follower(follower)}"
        self._patience = patience

    async def load(self, start: int = 0) -> Cursor:
        """The cursor; at `start` where there is none: 1 read."""
        response = await self._fetch()
        if response.WhichOneof("result") == "missing":
            return Cursor(start, None)
        found = response.found
        return Cursor(found.fields["position"].integer_value, found.update_time)

    def move_in(self, transaction: Transaction, cursor: Cursor, position: int) -> None:
        """Move it as part of a transaction, which fails if somebody else has moved it meanwhile: 1 write."""
        transaction._verify(self._name, cursor.version)
        fields = {**_position(position), "token": protos.Value(bytes_value=transaction.token)}
        transaction._staging.change_verified(self._write(fields))

    async def move(self, position: int) -> None:
        """Move it whatever it is at; a transaction of the follower's that is under way will fail: 1 write."""
        write = self._write(_position(position))
        wire = Wire.of(self._box._client)
        await retry_transient(
            lambda timeout: wire.commit([write], timeout=timeout),
            Backoff(self._box._clock, self._box._rng, self._patience),
        )

    async def outcome(self, token: bytes, before: Cursor) -> Outcome:
        """What became of the transaction of this token, which was to move it from where it was before."""
        response = await self._fetch()
        if response.WhichOneof("result") == "missing":
            return Outcome.PENDING if before.version is None else Outcome.UNKNOWN
        if response.found.fields["token"].bytes_value == token:
            return Outcome.DONE
        if before.version is not None and response.found.update_time == before.version:
            return Outcome.PENDING
        # moved since by somebody else: before that, by ours, or now that it cannot be moved by ours any more?
        return Outcome.UNKNOWN

    def _write(self, fields: dict[str, Any]) -> Any:
        return protos.Write(update=protos.Document(name=self._name, fields=fields))

    async def _fetch(self) -> Any:
        wire = Wire.of(self._box._client)
        responses = await retry_transient(
            lambda timeout: wire.batch_get([self._name], timeout=timeout),
            Backoff(self._box._clock, self._box._rng, self._patience),
        )
        return responses[self._name]


def _position(position: int) -> dict[str, Any]:
    return {"position": protos.Value(integer_value=position)}


async def all_positions(box: EventBox, ref: AsyncDocumentReference, track: Track) -> dict[str, int]:
    """The cursors of all followers on this track, by the followers' names: 1 RPC, 1 read each and at least 1."""
    wire = Wire.of(box._client)
    query = protos.StructuredQuery()
    query.from_.add(collection_id=track.cursors)

    async def attempt(timeout: float) -> dict[str, int]:
        return {
            response.document.name.rpartition("/")[2]: response.document.fields["position"].integer_value
            async for response in wire.run_query(ref._document_path, query, timeout=timeout)
            if response.HasField("document")
        }

    return await retry_transient(attempt, Backoff(box._clock, box._rng, TIMEOUT))


def check_follower(follower: object) -> str:
    """The follower's name, which is its cursor's document ID; TypeError or ValueError that says what is wrong."""
    if not isinstance(follower, str):
        raise TypeError(f"the name of a follower must be a str, not {type(follower).__name__}")
    if not follower:
        raise ValueError("the name of a follower must not be empty: its cursor is kept under it")
    if (
        "/" in follower
        or not follower.isprintable()
        or follower != follower.strip()
        or re.fullmatch(r"\.\.?|__.*__", follower)
    ):
        raise ValueError(
            "the name of a follower is a document ID: printable, no slash, no space around it, and not '.', '..' or "
            f"__x__; not {follower!r:.100}"
        )
    size = len(follower.encode())
    if size > MAX_FOLLOWER_BYTES:
        raise ValueError(
            f"the name of a follower has at most {MAX_FOLLOWER_BYTES} bytes of UTF-8, not {size}: {follower!r:.100}"
        )
    return follower
