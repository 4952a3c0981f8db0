"""What a service's RPCs are called, and how a front meets the service, whichever of Google's it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from google.protobuf.message import DecodeError
from grpc import StatusCode

from emulator.bidi_stream import BidiStream
from emulator.status import Status

Table = Mapping[str, tuple[Any, Any]]
"""RPCs by their short names ("Commit"): the classes of request and response."""


@dataclass(frozen=True)
class Rpcs:
    """A service's RPCs, by kind.

    Args:
        service: its full name, "google.firestore.v1.Firestore".
        unary: those with one response.
        streaming: those that answer with a stream.
        bidirectional: those that are streams both ways.
        missing: what whoever calls one of those reads that the emulator does not have, by short name; else that the
            emulator has none of this name.
    """

    service: str
    unary: Table
    streaming: Table = field(default_factory=dict)
    bidirectional: Table = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def unimplemented(self, rpc: str) -> Status:
        """What an RPC gets that the emulator does not have."""
        return Status(StatusCode.UNIMPLEMENTED, self.missing.get(rpc, f"The emulator has no {rpc}."))


class RpcService(Protocol):
    """A sans-I/O service: requests in, responses or a `Status` out.

    Its coroutines suspend on `Waiter`s only; a front drives them, one step at a time, holding `lock` during each.
    """

    @property
    def lock(self) -> AbstractContextManager[Any, Any]: ...
    @property
    def rpcs(self) -> Rpcs: ...

    def called(self, rpc: str) -> None:
        """Count a call, whatever becomes of it."""

    def pause_before(self, rpc: str, request: Any) -> timedelta | None:
        """How long an RPC has to be held up before it is begun; None: not at all."""

    def refused(self, request: Any, code: StatusCode) -> None:
        """Take note that somebody has ordered this error for a request, which is not carried out."""

    async def unary(self, rpc: str, request: Any, received: int | None = None) -> Any:
        """The response of an RPC that has one; a Status where it fails.

        `received` is the number of bytes that the request came in, if it did: to reckon its size takes time.
        """

    async def stream(self, rpc: str, request: Any) -> Iterator[Any]:
        """The responses of a streaming RPC; a Status where it fails."""
        ...

    def converse(self, rpc: str) -> BidiStream:
        """A new stream of an RPC that is one both ways."""
        ...

    def tick(self) -> None:
        """Do what the clock has made due."""

    def next_expiry(self) -> timedelta | None:
        """How long until the clock alone lets one go on who waits; None: it never does."""


def parse(message_class: Any, data: bytes) -> Any:
    """The message in these bytes; INVALID_ARGUMENT where they are none, or where it is nested over 100 levels deep."""
    try:
        return message_class.FromString(data)
    except DecodeError as error:
        kind = message_class.DESCRIPTOR.name
        raise Status(
            StatusCode.INVALID_ARGUMENT,
            f"The request is no valid {kind}: its bytes are broken, a text in it is not UTF-8, or it is nested too "
            "deep.",
        ) from error
