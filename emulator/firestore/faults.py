"""Faults, as a test orders them: latency, errors before or after the work, work that is done late."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from grpc import StatusCode

from emulator.firestore.service import BIDIRECTIONAL, STREAMING, UNARY
from emulator.firestore.status import Status


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with an RPC.

    Args:
        rpc: the RPC's short name, such as "Commit", or "*" for any.
        error: the name of the status code that the caller gets; None where the RPC is only slow.
        when: "before": nothing is done. "after": it is done, and its answer lost. "late": the caller gets the error
            now, and it is done once the latency has passed.
        times: how often it happens; None: until it is removed.
        latency: how long the RPC waits, on the emulator's clock, before anything is done.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    rpc: str = "*"
    error: str | None = None
    when: Literal["before", "after", "late"] = "before"
    times: int | None = 1
    latency: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        known = {"*", *UNARY, *STREAMING, *BIDIRECTIONAL}
        if self.rpc not in known:
            raise ValueError(f"rpc must be one of {', '.join(sorted(known))}, not {self.rpc!r}")
        if self.error is not None and (self.error == "OK" or self.error not in StatusCode.__members__):
            raise ValueError(
                f"error must be the name of a gRPC status code, such as UNAVAILABLE, not {self.error!r}"
            )
        if self.when not in ("before", "after", "late"):
            raise ValueError(f'when must be "before", "after" or "late", not {self.when!r}')
        if self.when == "late" and self.error is None:
            raise ValueError(
                'when="late" needs an error, which the caller gets while the work is still to be done'
            )
        if self.times is not None and (not isinstance(self.times, int) or self.times < 1):
            raise ValueError(f"times must be a positive int or None, not {self.times!r}")
        if not isinstance(self.latency, timedelta) or self.latency < timedelta(0):
            raise ValueError(f"latency must be a timedelta that is not negative, not {self.latency!r}")

    @property
    def status(self) -> Status:
        """The error that the caller gets."""
        assert self.error is not None
        return Status(StatusCode[self.error], f"fault injected: {self.error} {self.when} {self.rpc}")


class PendingFault:
    """A fault that was added: how often it is still to happen, and a way to take it back."""

    def __init__(self, faults: Faults, fault: Fault) -> None:
        self._faults = faults
        self.fault = fault
        self.remaining = fault.times

    def remove(self) -> None:
        """Let it happen no more."""
        self._faults._remove(self)


class Faults:
    """The faults that are still to happen. Each RPC meets the first one that is about it, in order of adding."""

    def __init__(self) -> None:
        self._pending: list[PendingFault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> PendingFault:
        """Order a fault."""
        if not isinstance(fault, Fault):
            raise TypeError(f"expected a Fault, not {type(fault).__name__}")
        pending = PendingFault(self, fault)
        with self._lock:
            self._pending.append(pending)
        return pending

    def clear(self) -> None:
        """Order none any more."""
        with self._lock:
            self._pending.clear()

    def take(self, rpc: str) -> Fault | None:
        """The fault that this RPC meets, which has happened now."""
        if not self._pending:
            return None
        with self._lock:
            for pending in self._pending:
                if pending.fault.rpc in ("*", rpc):
                    if pending.remaining is not None:
                        pending.remaining -= 1
                        if not pending.remaining:
                            self._pending.remove(pending)
                    return pending.fault
        return None

    def _remove(self, pending: PendingFault) -> None:
        with self._lock:
            if pending in self._pending:
                self._pending.remove(pending)
