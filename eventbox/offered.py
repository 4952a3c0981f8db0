"""What a processor of ours offers the core besides the protocol, and what holds for those that offer nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from eventbox.batch_scope import BatchScope
from eventbox.commit import Outcome
from eventbox.kept import Kept
from eventbox.processor import Processor, Transition
from eventbox.transaction import Transaction

S = TypeVar("S")


class Offered(Generic[S]):
    """A processor, asked for more than the protocol has."""

    def __init__(self, processor: Processor[S]) -> None:
        self._processor = processor

    @property
    def in_order(self) -> bool:
        """Whether each batch must begin with the first events that are outstanding: none is listed ahead then."""
        return bool(getattr(self._processor, "_in_order", False))

    def within(self, max_events: int, max_bytes: int) -> tuple[int, int]:
        """So many events and bytes, or as many as it takes up at once where that is less."""
        most_events, most_bytes = getattr(self._processor, "_takes_at_most", (max_events, max_bytes))
        return min(max_events, most_events), min(max_bytes, most_bytes)

    def unchanged(self, state: S, after: S) -> bool:
        """Whether `after` would be stored as the state was loaded."""
        compare = getattr(self._processor, "_unchanged", None)
        return state is after if compare is None else bool(compare(after))

    def same(self, before: S, after: S) -> bool:
        """Whether two states would be stored the same."""
        compare = getattr(self._processor, "_same_state", None)
        return before is after if compare is None else bool(compare(before, after))

    def changed_in_place(self) -> bool:
        """Whether the object that was loaded is known to have been changed."""
        changed = getattr(self._processor, "_changed_in_place", None)
        return changed is not None and bool(changed())

    async def was_saved(self, token: bytes, eversion: int) -> Outcome:
        """What the state tells of the batch of this token, which was to save this eversion."""
        ask = getattr(self._processor, "_was_saved", None)
        if ask is None:
            return Outcome.UNKNOWN
        outcome: Outcome = await ask(token, eversion)
        return outcome

    def may_keep(self, transitions: Sequence[Transition[S]]) -> bool:
        """Whether a commit of these may leave something that the next batch goes on from."""
        if getattr(self._processor, "_keep", None) is not None:
            return True
        # nobody knows where its state lies, and so whether a side effect has written there, or a callback will
        if any(one.side_effect is not None or one.post_process is not None for one in transitions):
            return False
        return not BatchScope.current().loaded  # else it wraps one of ours, which cannot be told to go on

    def keep(
        self,
        transaction: Transaction,
        response: Any,
        state: S,
        eversion: int,
        *,
        saved: bool,
        committed: Sequence[Transition[S]],
    ) -> Kept[S] | None:
        """What a commit has left, in place of loading it again, where that is known."""
        keep = getattr(self._processor, "_keep", None)
        if keep is not None:
            loaded = keep(transaction, response, state, eversion, saved)
            return None if loaded is None else Kept(loaded.state, eversion, loaded)
        return Kept(state, eversion) if self.may_keep(committed) else None

    def resume(self, kept: Kept[S]) -> None:
        """Let it go on from what it has kept, in the batch that begins."""
        if kept.loaded is not None:
            self._processor._resume(kept.loaded)  # type: ignore[attr-defined]
