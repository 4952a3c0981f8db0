"""The Write RPC: commits in order, over one stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from grpc import StatusCode

from emulator.bidi_stream import BidiStream
from emulator.firestore import limits, names, protos
from emulator.firestore.committing import Committed
from emulator.firestore.versions import timestamp
from emulator.status import Status

Commit = Callable[[str, Any], Awaitable[Committed]]


class WriteStream(BidiStream):
    """One stream of writes.

    The first request names the database and has no writes; each later one carries the token of the last response that
    the client has seen. A request that fails ends the stream.

    Args:
        commit: carries out writes in a database.
        new_id: makes the stream's ID.
    """

    def __init__(self, commit: Commit, new_id: Callable[[], str]) -> None:
        super().__init__()
        self._commit = commit
        self._new_id = new_id
        self._database = ""
        self._tokens = 0

    async def next(self) -> Sequence[Any] | None:
        while not self._requests:
            if self._ended:
                return None
            await self._wait()
        request = self._requests.popleft()
        limits.check_request(request)
        if not self._database:
            return [self._open(request)]
        return [await self._write(request)]

    def _open(self, request: Any) -> Any:
        database = names.check_database(request.database)
        if request.writes:
            raise Status(
                StatusCode.INVALID_ARGUMENT, "The first request of a write stream cannot have writes."
            )
        if request.stream_id and not request.stream_token:
            raise Status(
                StatusCode.INVALID_ARGUMENT, "A write stream is resumed with its ID and its last token."
            )
        self._database = database
        return protos.WriteResponse(stream_id=request.stream_id or self._new_id(), stream_token=self._token())

    async def _write(self, request: Any) -> Any:
        if request.database and request.database != self._database:
            raise Status(StatusCode.INVALID_ARGUMENT, "A write stream is about one database.")
        if not self._is_known(request.stream_token):
            raise Status(StatusCode.INVALID_ARGUMENT, "The stream token is none that this stream has sent.")
        response = protos.WriteResponse()
        if request.writes:
            committed = await self._commit(self._database, request.writes)
            response.write_results.extend(map(protos.WriteResult.FromString, committed.results))
            response.commit_time.CopyFrom(timestamp(committed.time_us))
        response.stream_token = self._token()
        return response

    def _token(self) -> bytes:
        self._tokens += 1
        return self._tokens.to_bytes(8, "big")

    def _is_known(self, token: bytes) -> bool:
        return len(token) == 8 and 1 <= int.from_bytes(token, "big") <= self._tokens
