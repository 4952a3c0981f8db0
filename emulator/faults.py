"""Faults that are still to happen, of whichever emulator, and what becomes of an RPC that meets one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Generic, Protocol, TypeGuard, TypeVar

from grpc import StatusCode

from emulator.fault_latency import Latency
from emulator.status import Status


class AnyFault(Protocol):
    """What the faults of all emulators have; each has a `Fault` of its own that documents them."""

    @property
    def rpc(self) -> str: ...
    @property
    def error(self) -> str | None: ...
    @property
    def when(self) -> str: ...
    @property
    def times(self) -> int | None: ...
    @property
    def latency(self) -> timedelta | Latency: ...
    @property
    def probability(self) -> float: ...
    @property
    def after_messages(self) -> int: ...

    def is_about(self, rpc: str, request: Any) -> bool:
        """Whether it may happen to this RPC."""
        ...


F = TypeVar("F", bound=AnyFault)


def check_error(error: object) -> None:
    """ValueError unless it is the name of a gRPC status code, or None."""
    if error is not None and (
        not isinstance(error, str) or error == "OK" or error not in StatusCode.__members__
    ):
        raise ValueError(f"error must be the name of a gRPC status code, such as UNAVAILABLE, not {error!r}")


def check_times(times: object) -> None:
    """ValueError unless it says how often a fault happens."""
    if times is not None and (not is_int(times) or times < 1):
        raise ValueError(f"times must be a positive int or None, not {times!r}")


def check_latency(latency: object) -> None:
    """ValueError unless a fault may take so long."""
    if not isinstance(latency, Latency) and (not isinstance(latency, timedelta) or latency < timedelta(0)):
        raise ValueError(f"latency must be a Latency or a timedelta that is not negative, not {latency!r}")


def check_probability(probability: object) -> None:
    """ValueError unless a fault may be so likely."""
    if not isinstance(probability, int | float) or not 0 < probability <= 1:
        raise ValueError(f"probability must be above 0, and 1 at most, not {probability!r}")


def is_int(number: object) -> TypeGuard[int]:
    """Whether it is an int, and no bool."""
    return isinstance(number, int) and not isinstance(number, bool)


@dataclass(frozen=True, slots=True)
class Mishap:
    """A fault as it happens to one RPC, with nothing left to chance."""

    fault: AnyFault
    latency: timedelta

    @property
    def when(self) -> str:
        return self.fault.when

    @property
    def fails_before(self) -> bool:
        """Whether the RPC fails without anything done."""
        return self.fault.error is not None and self.fault.when == "before"

    @property
    def fails_after(self) -> bool:
        """Whether the RPC fails once it is done."""
        return self.fault.error is not None and self.fault.when == "after"

    @property
    def status(self) -> Status:
        """The error that the caller gets."""
        fault = self.fault
        assert fault.error is not None
        return Status(StatusCode[fault.error], f"fault injected: {fault.error} {fault.when} {fault.rpc}")

    def cut(self, responses: Iterator[Any]) -> Iterator[Any]:
        """A stream's responses, of which the last ones are lost."""
        for _, response in zip(range(self.fault.after_messages), responses, strict=False):
            yield response
        raise self.status


class PendingFault(Generic[F]):
    """A fault that was added: how often it is still to happen, and a way to take it back.

    `id` tells it from all others of its emulator.
    """

    def __init__(self, faults: Faults[F], fault: F, id: int, rng: Random) -> None:
        self._faults = faults
        self._rng = rng
        self.fault = fault
        self.id = id
        self.remaining = fault.times

    def remove(self) -> None:
        """Let it happen no more."""
        self._faults._remove(self)

    def _strikes(self) -> bool:
        return self.fault.probability >= 1 or self._rng.random() < self.fault.probability

    def _happen(self) -> Mishap:
        if self.remaining is not None:
            self.remaining -= 1
        latency = self.fault.latency
        return Mishap(self.fault, latency.draw(self._rng) if isinstance(latency, Latency) else latency)


class Faults(Generic[F]):
    """The faults that are still to happen.

    Each RPC meets the first one that is about it and that chance does not spare it, in order of adding. Chance goes by
    the seed: each fault has numbers of its own, so what one does is the same whatever the others do. `pending` is empty
    where there are none: look there first, and at nothing else, before each RPC.
    """

    def __init__(self, kind: type[F], seed: int = 0) -> None:
        self._kind = kind
        self.pending: list[PendingFault[F]] = []
        self._lock = threading.Lock()
        self._seed = seed
        self._added = 0

    def add(self, fault: F) -> PendingFault[F]:
        """Order a fault."""
        if not isinstance(fault, self._kind):
            raise TypeError(f"expected a Fault, not {type(fault).__name__}")
        with self._lock:
            self._added += 1
            pending = PendingFault(self, fault, self._added, Random(f"{self._seed}/{self._added}"))
            self.pending.append(pending)
        return pending

    def clear(self) -> None:
        """Order none any more."""
        with self._lock:
            self.pending.clear()

    def __iter__(self) -> Iterator[PendingFault[F]]:
        """Those that are still to happen, in order of adding."""
        with self._lock:
            return iter(list(self.pending))

    def take(self, rpc: str, request: Any) -> Mishap | None:
        """What happens to this RPC, which has happened now; None where it is spared."""
        with self._lock:
            for pending in self.pending:
                if pending.fault.is_about(rpc, request) and pending._strikes():
                    mishap = pending._happen()
                    if pending.remaining == 0:
                        self.pending.remove(pending)
                    return mishap
        return None

    def _remove(self, pending: PendingFault[F]) -> None:
        with self._lock:
            if pending in self.pending:
                self.pending.remove(pending)
