"""`ServerTime`: what a client knows of the server's time, whatever this machine's clock says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud.firestore_v1.async_client import AsyncClient

from dsset.clock import Clock, SystemClock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = 1_000_000  # microseconds in a second


class ServerTime:
    """A lower bound of Firestore's time: the latest commit or read time heard, and what has passed since.

    What passes is taken from the clock's `monotonic`, so a time of day that is wrong by any amount changes nothing. It
    is at least every time that was heard, and behind the server's own time by no more than the quickest answer took.

    Get it by `ServerTime.of(client, clock)`. From then on it hears every answer that comes through dsset and eventbox
    on this client; what google's own methods are answered, it does not.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_us: int | None = None  # how far the server's time is ahead of our monotonic one, at least

    @staticmethod
    def of(client: AsyncClient, clock: Clock) -> ServerTime:
        """What is known by this client on this clock, kept on the client. Needs no event loop."""
        hearing = Hearing.of(client)
        key: object = SystemClock if type(clock) is SystemClock else clock
        for known, server_time in hearing.listeners:
            if known is key:
                return server_time
        server_time = ServerTime(clock)
        hearing.listeners.append((key, server_time))
        return server_time

    def lower_bound(self) -> datetime | None:
        """A time that the server has reached by now; None where it has not been heard of yet. It never falls."""
        if self._ahead_us is None:
            return None
        return _EPOCH + timedelta(microseconds=self._ahead_us + int(self._clock.monotonic() * _US))

    def hear(self, server_us: int) -> None:
        """Take in a time, in microseconds since the epoch, at which the server has answered just now."""
        ahead_us = server_us - int(self._clock.monotonic() * _US)
        if self._ahead_us is None or ahead_us > self._ahead_us:
            self._ahead_us = ahead_us


class Hearing:
    """Those who listen to the times in one client's answers."""

    def __init__(self) -> None:
        self.listeners: list[tuple[object, ServerTime]] = []

    @staticmethod
    def of(client: AsyncClient) -> Hearing:
        """The one of this client, made at the first call and kept on the client."""
        hearing = getattr(client, "_dsset_hearing", None)
        if hearing is None:
            hearing = client._dsset_hearing = Hearing()
        return hearing

    def hear(self, timestamp: Any) -> None:
        """Take in a Timestamp that has just arrived; an unset one tells nothing."""
        self._tell(timestamp.seconds * _US + timestamp.nanos // 1_000)

    def hear_latest(self, timestamps: Iterable[Any]) -> None:
        """Take in the latest of several that have arrived together."""
        if self.listeners:
            self._tell(max([one.seconds * _US + one.nanos // 1_000 for one in timestamps], default=0))

    def _tell(self, server_us: int) -> None:
        if server_us:
            for _, listener in self.listeners:
                listener.hear(server_us)
