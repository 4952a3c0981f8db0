"""The network between the processes and the services: it delays, loses, repeats and cuts, as the seed says.

Each RPC travels: the request arrives after a latency, is carried out whatever has become of its sender, and the answer
travels back. A process that dies neither sends nor hears any more; what it has sent goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from random import Random
from typing import Any

from grpc import StatusCode

from dsset import protos
from emulator.driver import Rest
from emulator.front import Front
from emulator.status import Status
from tests.simulation.history import History
from tests.simulation.process import Process
from tests.simulation.streams import Stream
from tests.simulation.telling import told

Observe = Callable[[str, Any, Any], None]
"""Called with each RPC that was carried out: name, request, response."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How likely each fault is, for each RPC; latencies are in seconds."""

    latency: float = 0.01
    slow: float = 0.0
    before: float = 0.0
    after: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    cut: float = 0.0
    silent: float = 0.0  # of the lost answers, how many are noticed by nothing but the timeout
    death: float = 0.0  # of the sender: before it has sent, or before it hears the answer
    storm: float = 0.0  # how likely a write is aborted while a storm lasts
    outages: float = 0.0  # how likely one begins, each second
    longest: float = 30.0  # by which a late request comes

    @classmethod
    def draw(cls, rng: Random) -> Weather:
        """Some kinds of faults, each more or less often: histories of few kinds go deeper than those of all."""

        def some(most: float) -> float:
            return rng.choice((0.0, 0.0, most / 4, most))

        return cls(
            latency=rng.choice((0.001, 0.01, 0.05, 0.3)),
            slow=some(0.05),
            before=some(0.1),
            after=some(0.15),
            late=some(0.1),
            twice=some(0.08),
            cut=some(0.05),
            silent=rng.choice((0.0, 0.3)),
            death=some(0.06),
            storm=some(0.6),
            outages=some(0.03),
            longest=rng.choice((1.0, 10.0, 40.0, 90.0)),
        )


CALM = Weather()

_ARRIVALS = {
    "late": "(late: its sender has given up)",
    "again": "(it came twice)",
    "dead": "(its sender will not hear)",
    "cut": "(the answer will be cut)",
    "after": "(the answer will be lost)",
}
"""How the story tells of requests that arrive."""

_LOSSES = {
    "late": "it will arrive later",
    "before": "nothing was done",
    "after": "it was done",
    "aborted": "a storm: nothing was done",
}
"""And of answers."""


class Network:
    """Between all processes and one service."""

    def __init__(
        self, inner: Front, rng: Random, history: History, weather: Weather, observe: Observe
    ) -> None:
        self.inner = inner
        self.rng = rng
        self.history = history
        self.weather = weather
        self.observe = observe
        self.stormy = False
        self.down = False
        """An outage: nothing is answered, though some of it arrives later."""
        self.over = False
        """Nothing is sent any more."""

    def front(self, process: Process) -> Front:
        """What a process's clients speak to."""
        return _ProcessFront(self, process)

    def break_down(self, seconds: float) -> None:
        """Answer nothing for so long."""

        def end() -> None:
            self.down = False

        if not self.down:
            self.history.fault("network", "outage", f"is down for {seconds:.1f} s")
            self.down = True
            asyncio.get_running_loop().call_later(seconds, end, context=Context())

    def latency(self, process: Process) -> float:
        """How long something travels, to or from a process."""
        latency = self.rng.expovariate(1.0) * self.weather.latency * process.slowness
        if self.weather.slow and self.rng.random() < self.weather.slow:
            self.history.faults["slow"] += 1
            latency += self.rng.uniform(0.5, 8.0)
        return latency


class _ProcessFront(Front):
    def __init__(self, network: Network, process: Process) -> None:
        self.service = network.inner.service
        self.rpcs = network.inner.rpcs
        self._network = network
        self._process = process

    def begin_unary(self, rpc: str, request: Any, timeout: float | None = None) -> Any:
        return self._send(rpc, request, timeout, self._network.inner.begin_unary)

    def begin_stream(self, rpc: str, request: Any, timeout: float | None = None) -> Any:
        return self._send(rpc, request, timeout, self._network.inner.begin_stream)

    def begin_bidi(self, rpc: str, timeout: float | None = None) -> Any:
        network = self._network
        if network.over:
            raise Status(StatusCode.PERMISSION_DENIED, "the simulation is over")
        number = network.history.send()
        return Stream(network, self._process, rpc, lambda: network.inner.begin_bidi(rpc), number=number)

    def _send(
        self, rpc: str, request: Any, timeout: float | None, begin: Callable[[str, Any, float | None], Any]
    ) -> Any:
        if self._network.over:
            raise Status(StatusCode.PERMISSION_DENIED, "the simulation is over")
        if self._process.dead:  # it has died a moment ago, in the middle of this step
            return Rest(_forever(), _nothing)
        journey = _Journey(self._network, self._process, rpc, request, begin)
        return Rest(journey.wait(timeout), _nothing)


class _Journey:
    """One RPC, there and back."""

    def __init__(
        self,
        network: Network,
        process: Process,
        rpc: str,
        request: Any,
        begin: Callable[[str, Any, float | None], Any],
    ) -> None:
        self._network = network
        self._process = process
        self._rpc = rpc
        self._request = request
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Any] = self._loop.create_future()
        self._cancelled = False
        self._carried_out = False
        history = network.history
        self._number = history.send()
        history.add(
            process.name,
            f"> {rpc} #{self._number}",
            request.SerializeToString(deterministic=True),
            lambda: told(rpc, request),
        )
        self._depart()

    def _depart(self) -> None:
        network, weather, rng = self._network, self._network.weather, self._network.rng
        arrives = network.latency(self._process)
        if weather.death and self._process.mortal and rng.random() < weather.death:
            if rng.random() < 0.3:  # it dies before the request has left
                self._fault("dies before it is sent")
                self._process.die()
                return
            self._later(arrives, self._arrive, "dead")
            return
        draw = rng.random()
        for kind in ("before", "after", "late", "twice", "cut"):
            share = getattr(weather, kind)
            if draw < share:
                break
            draw -= share
        else:
            kind = ""
        if network.down:
            kind = "late" if rng.random() < 0.4 else "before"
        elif kind == "late" and self._rpc == "Commit" and rng.random() < weather.outages * 10:
            network.break_down(rng.uniform(30.0, 120.0))  # the commit is the first that it takes
        if network.stormy and self._can_be_aborted() and rng.random() < weather.storm:
            kind = "aborted"
            self._forget_transaction()
        if kind == "twice" and self._counts_up():
            kind = ""
        if kind:
            network.history.faults[kind] += 1
        if kind == "late":
            self._later(rng.uniform(0.0, weather.longest), self._arrive, "late")
            self._later(arrives + network.latency(self._process), self._lose, "late")
        elif kind == "twice":
            self._later(arrives, self._arrive, "")
            self._later(arrives + rng.uniform(0.0, weather.longest), self._arrive, "again")
        elif kind in ("before", "aborted"):
            self._later(arrives + network.latency(self._process), self._lose, kind)
        else:
            self._later(arrives, self._arrive, kind)

    def _can_be_aborted(self) -> bool:
        if self._rpc in ("Commit", "BatchWrite"):
            return True
        return self._rpc in ("BatchGetDocuments", "RunQuery") and bool(
            self._request.transaction or self._request.HasField("new_transaction")
        )

    def _counts_up(self) -> bool:
        """Whether nobody may send it twice: it counts something up, whatever is there."""
        if self._rpc != "Commit" or self._request.transaction:
            return False
        writes = self._request.writes
        return not any(write.HasField("current_document") for write in writes) and any(
            one.HasField("increment") for write in writes for one in write.update_transforms
        )

    def _forget_transaction(self) -> None:
        """What the server aborts is at its end there, and holds no locks."""
        transaction = getattr(self._request, "transaction", b"")
        if transaction:
            rollback = protos.RollbackRequest(
                database="projects/demo/databases/(default)", transaction=transaction
            )
            with suppress(Status):
                self._network.inner.begin_unary("Rollback", rollback, None)

    def _later(self, delay: float, callback: Callable[..., None], *args: Any) -> None:
        """In the services' context: whatever becomes of the sender, this goes on."""
        self._loop.call_later(delay, callback, *args, context=Context())

    def _arrive(self, kind: str) -> None:
        if self._cancelled and kind != "again":
            return
        try:
            outcome = self._begin(self._rpc, self._request, None)
        except Status as status:
            self._answered(kind, None, status)
            return
        if isinstance(outcome, Rest):
            self._loop.create_task(self._carry_out(kind, outcome), context=Context())
        else:
            self._answered(kind, outcome, None)

    async def _carry_out(self, kind: str, rest: Rest[Any]) -> None:
        try:
            outcome = await rest
        except Status as status:
            self._answered(kind, None, status)
        else:
            self._answered(kind, outcome, None)

    def _answered(self, kind: str, outcome: Any, status: Status | None) -> None:
        """It was carried out, or refused: the answer travels back."""
        network = self._network
        if status is None:
            if isinstance(outcome, Iterator):
                outcome = list(outcome)
            network.observe(self._rpc, self._request, outcome)
            self._note(f"done {_ARRIVALS.get(kind, '')}".rstrip())
        else:
            self._note(f"refused, {status.code.name} {_ARRIVALS.get(kind, '')}".rstrip())
        if kind == "dead":
            if not self._process.dead:
                self._fault("dies before it hears")
                self._process.die()
            return
        first, self._carried_out = not self._carried_out, True
        if kind == "late" or not first:  # of two, the answer to what was done first is heard
            return
        if kind == "after":
            self._later(network.latency(self._process), self._lose, kind)
        elif kind == "cut" and isinstance(outcome, list):
            self._later(
                network.latency(self._process),
                self._deliver,
                _cut(outcome, network.rng.randrange(len(outcome) + 1)),
            )
        else:
            answer = status or (iter(outcome) if isinstance(outcome, list) else outcome)
            self._later(network.latency(self._process), self._deliver, answer)

    def _lose(self, kind: str) -> None:
        rng = self._network.rng
        if kind != "aborted" and self._network.weather.silent and rng.random() < self._network.weather.silent:
            self._network.history.faults["silent"] += 1
            return
        if kind == "aborted":
            code = StatusCode.ABORTED
        else:
            code = rng.choice((StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.UNKNOWN))
        self._note(f"! fails with {code.name} ({_LOSSES[kind]})")
        self._deliver(Status(code, f"simulated: {kind}"))

    def _deliver(self, answer: Any) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)

    async def wait(self, timeout: float | None) -> Any:
        """The answer, in the sender."""
        timer = None
        if timeout is not None:
            timer = self._loop.call_later(timeout, self._expire)
        try:
            answer = await self._answer
        except asyncio.CancelledError:
            # the cancellation may arrive before the request is carried out, or not at all
            self._network.history.faults["cancelled"] += 1
            self._cancelled = self._network.rng.random() < 0.5
            self._note("cancelled")
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if isinstance(answer, Status):
            raise answer
        return answer

    def _expire(self) -> None:
        self._fault("times out")
        self._deliver(Status(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))

    def _fault(self, what: str) -> None:
        self._network.history.faults[what] += 1
        self._note(f"! {what}")

    def _note(self, what: str) -> None:
        self._network.history.add(self._process.name, f"  {self._rpc} #{self._number} {what}")


def _cut(responses: list[Any], after: int) -> Any:
    status = Status(StatusCode.UNAVAILABLE, "simulated: cut")
    if not after:
        return status

    def stream() -> Iterator[Any]:
        yield from responses[:after]
        raise status

    return stream()


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


def _nothing() -> None:
    """Nothing is held that would have to be given up."""
