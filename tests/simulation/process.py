"""A simulated process: what dies together, and has a clock of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

PROCESS: ContextVar[Process] = ContextVar("PROCESS")
"""To whom the running code belongs; unset in the services."""

START = datetime(2030, 1, 1, tzinfo=UTC)


class SimulatedClock:
    """A clock that is wrong by `skew`, which may jump. What passes on it, and `monotonic`, are right."""

    def __init__(self, skew: timedelta = timedelta(0)) -> None:
        self.skew = skew

    def now(self) -> datetime:
        loop: Any = asyncio.get_running_loop()
        return START + loop.elapsed + self.skew  # type: ignore[no-any-return]

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds())


@dataclass(eq=False)
class Process:
    """A process from its start to its death. What starts again is another one.

    Attributes:
        slowness: by what its RPCs take longer than those of others.
        steps: after so many steps, from one await to the next, it dies; None: never of that.
    """

    name: str
    clock: SimulatedClock
    mortal: bool = True
    slowness: float = 1.0
    steps: int | None = None
    dead: bool = False
    standing: bool = False
    """It is starved: nothing of it runs for now, while time passes."""
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    limbo: list[asyncio.Handle] = field(default_factory=list)
    """What would have run next, had it lived, or not stood still."""
    on_death: list[asyncio.Future[None]] = field(default_factory=list)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let it do something, until it dies."""
        context = Context()
        context.run(PROCESS.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    def may_run(self) -> bool:
        """Whether it may take a step, which counts."""
        if self.dead or self.standing:
            return False
        if self.steps is not None:
            self.steps -= 1
            if self.steps < 0:
                self.die()
                return False
        return True

    def die(self) -> None:
        """Forget everything, now: nothing of it runs any more."""
        if not self.dead:
            self.dead = True
            for waiter in self.on_death:
                if not waiter.done():
                    waiter.set_result(None)

    def stand_still(self, seconds: float) -> None:
        """Starve, for so long: time passes, answers arrive, and nothing of it runs."""
        if self.dead or self.standing:
            return
        self.standing = True
        asyncio.get_running_loop().call_later(seconds, self._go_on, context=Context())

    def _go_on(self) -> None:
        loop: Any = asyncio.get_running_loop()
        self.standing = False
        if not self.dead:
            loop.bring_back(self)

    async def run(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Let it do something, from outside of it; whether it lived to do it. What that raises is raised."""
        task = self.start(work)
        death: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_death.append(death)
        try:
            await asyncio.wait([task, death], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.on_death.remove(death)
        if self.dead or not task.done():
            return False
        task.result()
        return True
