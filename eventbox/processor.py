"""What a user of eventbox writes: a processor, and the transitions that it wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

from eventbox.awaited import check_awaitable
from eventbox.events import Event
from eventbox.transaction import Transaction

S = TypeVar("S")

SideEffectFn: TypeAlias = Callable[[Transaction], Awaitable[None]]
"""Runs in the transaction, acts through it alone, and may be run more than once before the one commit."""

PostProcessFn: TypeAlias = Callable[[], Awaitable[None]]
"""Runs after the commit, at most once, and not at all if the process dies first."""


@dataclass(frozen=True)
class Transition(Generic[S]):
    """One step from the state before it to another, with the events that caused it.

    Args:
        transition_to: the state after it. The same object as before it, unchanged, means that the state stays.
        events: the events that it consumes, all from this batch and each in one transition only.
        side_effect: what to do in the same transaction, if anything.
        post_process: what to do after the commit, if anything.
    """

    transition_to: S
    events: Sequence[Event] = field(default=(), kw_only=True)
    side_effect: SideEffectFn | None = field(default=None, kw_only=True)
    post_process: PostProcessFn | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class Mutation(Generic[S]):
    """What a processor wants done with a batch.

    Args:
        transitions: in order, each from the state of the one before it.
        garbage: events that mean nothing any more. They are deleted before the transaction, whatever becomes of it.

    Events that are in neither stay outstanding and come again with a later batch.
    """

    transitions: Sequence[Transition[S]] = ()
    garbage: Sequence[Event] = ()


@runtime_checkable
class Processor(Protocol[S]):
    """How one recipient's events change its state. `DocumentProcessor` has all but `prepare_mutation`."""

    async def load_state(self) -> tuple[S, int]:
        """The state and its eversion (0 where there is none yet), read outside any transaction.

        The events are listed beside it, from the first thing that it awaits on; where that fails, it is cancelled.
        """
        ...

    async def prepare_mutation(self, events: Sequence[Event], state: S) -> Mutation[S]:
        """Decide what to do with these events, an arbitrary subset of the outstanding ones in arbitrary order.

        Called once a batch, outside any transaction, also with no events. Whatever it raises fails the batch, and
        nothing has happened; raise `PrepareError` to have garbage deleted all the same.

        Two batches may run at once on the same events, and garbage is deleted by each. So choose it deterministically:
        of two events that say the same, both batches must drop the same one, or both events vanish.
        """
        ...

    async def fetch_eversion(self, transaction: Transaction) -> int:
        """The eversion now, read in the transaction: the first thing that is done in it."""
        ...

    async def save_state(self, transaction: Transaction, state: S, eversion: int) -> None:
        """Write the state and its new eversion in the transaction: the last thing that is done in it."""
        ...


def chain(*side_effects: SideEffectFn | None) -> SideEffectFn | None:
    """One side effect that runs the given ones in order; None when all are None."""
    present = [side_effect for side_effect in side_effects if side_effect is not None]
    if len(present) <= 1:
        return present[0] if present else None

    async def run_all(transaction: Transaction) -> None:
        for side_effect in present:
            await check_awaitable(side_effect(transaction), "a side effect given to chain")

    return run_all
