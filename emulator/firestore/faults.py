"""Faults, as a test orders them: latency, errors before or after the work, work done late or twice, broken streams."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Literal

from grpc import StatusCode

from emulator.firestore.fault_latency import Latency
from emulator.firestore.fault_paths import check_path, is_about
from emulator.firestore.service import BIDIRECTIONAL, STREAMING, UNARY
from emulator.firestore.status import Status

When = Literal["before", "after", "late", "twice", "cut"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with an RPC.

    Args:
        rpc: the RPC's short name, such as "Commit", or "*" for any.
        error: the name of the status code that the caller gets; None where the RPC is only slow.
        when: "before": nothing is done. "after": it is done, and its answer lost. "late": the caller gets the error
            now, and it is done once the latency has passed. "twice": it is done, the caller gets the answer, and
            once the latency has passed it is done again, as a request that the network has doubled; it counts
            as two RPCs. "cut": a stream breaks with the error after `after_messages` responses, or at its end where
            it has fewer.
        times: how often it happens; None: until it is removed.
        latency: how long the RPC waits, on the emulator's clock, before anything is done; a `Latency` draws it anew
            for each RPC.
        path: which documents the request has to be about: one's path below the database's root, such as "orders/1",
            or a pattern, such as "orders/*" or "orders/**" (see `fault_paths`); None: any request. Of Listen and Write,
            which are streams of requests, it is asked of each; such a fault breaks the stream ("before", "after",
            "cut"), and has no latency.
        probability: of its happening to an RPC that it is about, by the emulator's seed.
        after_messages: for "cut": how many responses arrive.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    rpc: str = "*"
    error: str | None = None
    when: When = "before"
    times: int | None = 1
    latency: timedelta | Latency = timedelta(0)
    path: str | None = None
    probability: float = 1.0
    after_messages: int = 0

    def __post_init__(self) -> None:
        known = {"*", *UNARY, *STREAMING, *BIDIRECTIONAL}
        if not isinstance(self.rpc, str) or self.rpc not in known:
            raise ValueError(f"rpc must be one of {', '.join(sorted(known))}, not {self.rpc!r}")
        if self.error is not None and (
            not isinstance(self.error, str) or self.error == "OK" or self.error not in StatusCode.__members__
        ):
            raise ValueError(
                f"error must be the name of a gRPC status code, such as UNAVAILABLE, not {self.error!r}"
            )
        self._check_when()
        if self.times is not None and (not _is_int(self.times) or self.times < 1):
            raise ValueError(f"times must be a positive int or None, not {self.times!r}")
        if not isinstance(self.latency, Latency) and (
            not isinstance(self.latency, timedelta) or self.latency < timedelta(0)
        ):
            raise ValueError(
                f"latency must be a Latency or a timedelta that is not negative, not {self.latency!r}"
            )
        if self.path is not None:
            check_path(self.path)
        if not isinstance(self.probability, int | float) or not 0 < self.probability <= 1:
            raise ValueError(f"probability must be above 0, and 1 at most, not {self.probability!r}")
        if not _is_int(self.after_messages) or self.after_messages < 0:
            raise ValueError(
                f"after_messages must be an int that is not negative, not {self.after_messages!r}"
            )

    def is_about(self, rpc: str, request: Any) -> bool:
        """Whether it may happen to this RPC."""
        if self.rpc not in ("*", rpc):
            return False
        if self.when == "cut" and rpc in UNARY:
            return False
        if rpc in BIDIRECTIONAL:
            return self._is_about_conversation(request)
        return self.path is None or is_about(self.path, request)

    def _is_about_conversation(self, request: Any) -> bool:
        """A fault without a path is about its opening, which has no request; one with a path about each request."""
        if self.when == "twice" or (self.path is None) != (request is None):
            return False
        if self.path is None:
            return True
        return self.error is not None and self.when != "late" and is_about(self.path, request)

    def _check_when(self) -> None:
        if self.when not in ("before", "after", "late", "twice", "cut"):
            raise ValueError(f'when must be "before", "after", "late", "twice" or "cut", not {self.when!r}')
        if self.when == "late" and self.error is None:
            raise ValueError(
                'when="late" needs an error, which the caller gets while the work is still to be done'
            )
        if self.when == "twice" and self.error is not None:
            raise ValueError('when="twice" takes no error: the caller gets the answer to what was done first')
        if self.when == "cut" and self.error is None:
            raise ValueError('when="cut" needs an error, which the stream breaks with, such as UNAVAILABLE')
        if self.when == "cut" and self.rpc in UNARY:
            raise ValueError(
                f'when="cut" breaks streams, and {self.rpc} has one response: choose another rpc'
            )
        if self.when != "cut" and self.after_messages:
            raise ValueError('after_messages goes with when="cut" only')


@dataclass(frozen=True, slots=True)
class Mishap:
    """A fault as it happens to one RPC, with nothing left to chance."""

    fault: Fault
    latency: timedelta

    @property
    def when(self) -> When:
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


class PendingFault:
    """A fault that was added: how often it is still to happen, and a way to take it back.

    `id` tells it from all others of its emulator.
    """

    def __init__(self, faults: Faults, fault: Fault, id: int, rng: Random) -> None:
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


class Faults:
    """The faults that are still to happen.

    Each RPC meets the first one that is about it and that chance does not spare it, in order of adding. Chance goes by
    the seed: each fault has numbers of its own, so what one does is the same whatever the others do. `pending` is empty
    where there are none: look there first, and at nothing else, before each RPC.
    """

    def __init__(self, seed: int = 0) -> None:
        self.pending: list[PendingFault] = []
        self._lock = threading.Lock()
        self._seed = seed
        self._added = 0

    def add(self, fault: Fault) -> PendingFault:
        """Order a fault."""
        if not isinstance(fault, Fault):
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

    def __iter__(self) -> Iterator[PendingFault]:
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

    def _remove(self, pending: PendingFault) -> None:
        with self._lock:
            if pending in self.pending:
                self.pending.remove(pending)


def _is_int(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
