"""The kinds of processors that users write, all of which keep accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eventbox import DocumentProcessor, Event, EventBox, Mutation, Recipient
from eventbox.tasks import TaskQueue
from tests.account import OPENING, Account, AccountProcessor, PlainProcessor
from tests.simulation.accounts import Accounting
from tests.simulation.scene import Scene, recipient

KINDS = ("accounts", "books", "plain")
"""The collections of the recipients, each of which has a kind of processor."""

LAST = "last of "
"""What the key of a book begins with that names its last event: another one with each event, and one at a time."""


class BookProcessor(DocumentProcessor[dict[str, Any]]):
    """Its state is the recipient's document, as a dict from which keys go."""

    def __init__(self, to: Recipient, accounting: Accounting) -> None:
        super().__init__(to, dict)
        self._accounting = accounting

    async def prepare_mutation(
        self, events: Sequence[Event], state: dict[str, Any]
    ) -> Mutation[dict[str, Any]]:
        account = Account(state.get("balance", OPENING), list(state.get("applied", [])))
        decided = self._accounting.mutation(events, account)
        rest = {key: value for key, value in state.items() if not key.startswith(LAST)}

        def book(account: Account) -> dict[str, Any]:
            if not account.applied:
                return dict(state)
            named = {"balance": account.balance, "applied": account.applied}
            return {**rest, **named, f"{LAST}{account.applied[-1]}": True}

        transitions: list[Any] = [
            replace(one, transition_to=book(one.transition_to))  # type: ignore[arg-type]
            for one in decided.transitions
        ]
        return Mutation(transitions, decided.garbage)


def processor(
    scene: Scene, box: EventBox, path: str, queue: TaskQueue | None = None
) -> tuple[Any, Accounting]:
    """The processor of a recipient, for one run, and what it tells of its batches."""
    # nobody polls where wake-ups have to be enough
    send = queue.send if queue is not None and scene.alone else box.emit
    accounting = Accounting(scene, box, path, send, None if queue is None else queue.enqueue)
    kinds: dict[str, Any] = dict(zip(KINDS, (AccountProcessor, BookProcessor, PlainProcessor), strict=True))
    return kinds[path.partition("/")[0]](recipient(box.client, path), accounting), accounting
