"""`Fault`: what a test orders to go wrong with a Firestore's RPC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from emulator.fault_latency import Latency
from emulator.faults import check_error, check_latency, check_probability, check_times, is_int
from emulator.firestore.fault_paths import check_path, is_about
from emulator.firestore.service import BIDIRECTIONAL, STREAMING, UNARY

When = Literal["before", "after", "late", "twice", "cut"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with an RPC.

    Args:
        rpc: the RPC's short name, such as "Commit", or "*" for any.
        error: the name of the status code that the caller gets; None where the RPC is only slow. An ABORTED before
            anything is done ends the transaction that the request is part of, as in production.
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
        check_error(self.error)
        self._check_when()
        check_times(self.times)
        check_latency(self.latency)
        if self.path is not None:
            check_path(self.path)
        check_probability(self.probability)
        if not is_int(self.after_messages) or self.after_messages < 0:
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
