"""`Fault`: what a test orders to go wrong with an RPC, or with a dispatch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from emulator.fault_latency import Latency
from emulator.faults import check_error, check_latency, check_probability, check_times
from emulator.tasks.service import UNARY

When = Literal["before", "after", "late", "twice", "reordered"]

DISPATCH = "Dispatch"
"""What a fault calls the delivery of a task to its worker."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with an RPC, or with a dispatch.

    Args:
        rpc: the RPC's short name, such as "CreateTask", "*" for any RPC, or "Dispatch" for the delivery of a task.
        error: the name of the status code that the caller gets; None where the RPC is only slow. A dispatch with an
            error has no answer: the attempt has this code. Where nothing else would go wrong with a dispatch, it is
            UNAVAILABLE.
        when: "before": nothing is done, the task is not delivered. "after": it is done, and its answer lost. "late":
            the caller gets the error now, and it is done once the latency has passed; a dispatch may do without error:
            then it just takes place so much later. "twice": it is done, the caller gets the answer, and once the
            latency has passed it is done again; it counts as two. "reordered", for dispatches: the task that is due
            next in the same queue is delivered first; where there is none, nothing goes wrong.
        times: how often it happens; None: until it is removed.
        latency: how long it takes, on the emulator's clock, before anything is done; a `Latency` draws it anew each
            time. A dispatch that is held up does not wait in `drain`: it is due once the time has come.
        probability: of its happening to what it is about, by the emulator's seed.
        queue: the short name of the queue that it has to be about; None: any.

    Raises:
        TypeError, ValueError: an argument is none of these.
    """

    rpc: str = "*"
    error: str | None = None
    when: When = "before"
    times: int | None = 1
    latency: timedelta | Latency = timedelta(0)
    probability: float = 1.0
    queue: str | None = None

    def __post_init__(self) -> None:
        known = {"*", DISPATCH, *UNARY}
        if not isinstance(self.rpc, str) or self.rpc not in known:
            raise ValueError(f"rpc must be one of {', '.join(sorted(known))}, not {self.rpc!r}")
        check_error(self.error)
        self._check_when()
        check_times(self.times)
        check_latency(self.latency)
        check_probability(self.probability)
        idle = self.when == "after" or (self.when == "before" and not self.latency)
        if self.rpc == DISPATCH and self.error is None and idle:
            object.__setattr__(self, "error", "UNAVAILABLE")
        if self.queue is not None and (
            not isinstance(self.queue, str) or not self.queue or "/" in self.queue
        ):
            raise ValueError(f'queue must be the short name of one, such as "default", not {self.queue!r}')

    @property
    def after_messages(self) -> int:
        """Where it would break a stream, of which there are none here."""
        return 0

    def is_about(self, rpc: str, request: Any) -> bool:
        """Whether it may happen to this RPC, or this dispatch, whose `request` is the queue's name."""
        if self.rpc != rpc and (self.rpc != "*" or rpc == DISPATCH):
            return False
        if self.queue is None:
            return True
        name = request if isinstance(request, str) else _named(request)
        return f"{name}/".partition("/queues/")[2].partition("/")[0] == self.queue

    def _check_when(self) -> None:
        if self.when not in ("before", "after", "late", "twice", "reordered"):
            raise ValueError(
                f'when must be "before", "after", "late", "twice" or "reordered", not {self.when!r}'
            )
        if self.when == "late" and self.error is None and self.rpc != DISPATCH:
            raise ValueError(
                'when="late" needs an error, which the caller gets while the work is still to be done'
            )
        if self.when == "twice" and self.error is not None:
            raise ValueError('when="twice" takes no error: the caller gets the answer to what was done first')
        if self.when == "reordered" and (self.rpc != DISPATCH or self.error is not None or self.latency):
            raise ValueError('when="reordered" goes with rpc="Dispatch", without error and latency')


def _named(request: Any) -> str:
    """The name of what a request is about."""
    for field in ("name", "parent"):
        if field in request.DESCRIPTOR.fields_by_name:
            name: str = getattr(request, field)
            if "/queues/" in name:
                return name
    queue: str = request.queue.name if "queue" in request.DESCRIPTOR.fields_by_name else ""
    return queue
