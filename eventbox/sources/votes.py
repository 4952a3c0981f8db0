"""`VoteStore`, and `QuorumVotes`: an event is approved once enough voters have reported it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, TypeAlias, runtime_checkable

from google.cloud.firestore_v1.async_document import AsyncDocumentReference

from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire
from eventbox.box import EventBox
from eventbox.document_processor import DocumentProcessor
from eventbox.errors import ContentionError, UnknownOutcomeError
from eventbox.events import Event
from eventbox.processor import Mutation, SideEffectFn, Transition
from eventbox.recipient import Recipient
from eventbox.sources.arguments import check_ref, check_text
from eventbox.sources.stored_event import StoredEvent
from eventbox.transaction import Transaction

VOTES = "eventbox_votes"
"""The collection of what was voted on; each document has an inbox of votes."""

MAX_THRESHOLD = 1_000
_TIMEOUT = timedelta(minutes=1)

OnApprovedFn: TypeAlias = Callable[[Transaction, StoredEvent], Awaitable[None]]
"""Runs in the transaction in which the threshold is met: once, as far as it acts through the transaction alone."""


@runtime_checkable
class VoteStore(Protocol):
    """Tells an `EventStore` what need not be stored any more."""

    async def is_processed(self, id: str) -> bool:
        """Whether the event of this ID has been dealt with."""
        ...


class QuorumVotes:
    """Voters, on any number of nodes, report events; one that `threshold` of them have reported is approved, once.

        votes = QuorumVotes(box, client.document("sources/bridge"), threshold=2, on_approved=release)
        approved = await votes.vote(node, event)

    Each event is a recipient of its own, and each vote an event in its inbox: they contend with nothing else, and
    nobody's vote is lost. Who votes again, or late, changes nothing.

    Args:
        box: what carries the votes.
        ref: the document that it lies under, of the box's client. It need not exist.
        threshold: how many voters it takes, 1 to 1,000.
        on_approved: what to do then, in the same transaction. If it raises, `vote` does, and the vote stays: the next
            one tries again. After a `SkipTransition`, `vote` returns False instead.
    """

    def __init__(
        self,
        box: EventBox,
        ref: AsyncDocumentReference,
        *,
        threshold: int,
        on_approved: OnApprovedFn | None = None,
    ) -> None:
        if not isinstance(box, EventBox):
            raise TypeError(f"box must be an EventBox, not {type(box).__name__}")
        check_ref(ref)
        if not isinstance(threshold, int) or isinstance(threshold, bool):
            raise TypeError(f"threshold must be an int, not {type(threshold).__name__}")
        if not 1 <= threshold <= MAX_THRESHOLD:
            raise ValueError(f"threshold must be 1 to {MAX_THRESHOLD:,}, not {threshold}")
        if on_approved is not None and not callable(on_approved):
            raise TypeError(f"on_approved must be an asynchronous function, not {type(on_approved).__name__}")
        self._box = box
        self._ref = ref
        self._threshold = threshold
        self._on_approved = on_approved

    async def vote(self, voter: str, event: StoredEvent) -> bool:
        """Report an event; whether it is approved by now.

        Args:
            voter: who reports it, 1 to 256 bytes of UTF-8. A voter counts once for each event.
            event: what is reported; its ID tells which.

        Raises:
            TypeError, ValueError: a bad argument; nothing was sent.
            ContentionError, UnknownOutcomeError: others voted on it at the same time, or answers were lost, for a
                minute. The vote is there and counts with the next one.
            EmitError: the vote could not be written; vote again.
            Whatever `on_approved` raised.

        Cost: an emit and a batch: 3 sequential round trips, 3 writes and 2 reads.
        """
        check_text("voter", voter)
        if not isinstance(event, StoredEvent):
            raise TypeError(f"event must be a StoredEvent, not {type(event).__name__}")
        to = self._recipient(event.id)
        vote_id = hashlib.blake2b(voter.encode(), digest_size=20).hexdigest()
        await self._box.emit(_encode(voter, event), to, id=vote_id)
        processor = _Counting(to, voter, self._threshold, self._on_approved)
        backoff, looked = self._backoff(), False
        while True:
            try:
                for post_process in await self._box.process_batch(to, processor):
                    await post_process()
                # a state that was loaded before another one counted the vote, and events listed after it, lack it both
                if processor.counted or looked:
                    return processor.approved
                looked = True
            except (ContentionError, UnknownOutcomeError):  # the tally tells, whatever became of it
                if not await backoff.wait():
                    raise

    async def is_processed(self, id: str) -> bool:
        """Whether the event was approved. 1 RPC, 1 read."""
        name = self._recipient(id).ref._document_path
        wire = Wire.of(self._ref._client)
        responses = await retry_transient(
            lambda timeout: wire.batch_get([name], mask=["approved"], timeout=timeout), self._backoff()
        )
        response = responses[name]
        if response.WhichOneof("result") == "missing":
            return False
        return bool(response.found.fields["approved"].boolean_value)

    def _recipient(self, event_id: str) -> Recipient:
        check_text("the ID of an event", event_id)
        digest = hashlib.blake2b(event_id.encode(), digest_size=20).hexdigest()  # an ID may be any text
        return Recipient(self._ref.collection(VOTES).document(digest), VOTES)

    def _backoff(self) -> Backoff:
        return Backoff(self._box.clock, self._box._rng, _TIMEOUT)


@dataclass
class _Tally:
    """The state of one event: who has reported it, until it was approved."""

    event_id: str = ""
    voters: list[str] = field(default_factory=list)
    approved: bool = False


class _Counting(DocumentProcessor[_Tally]):
    """Counts the votes on one event; afterwards: whether it is approved, and whether the voter's own vote was seen."""

    def __init__(
        self, recipient: Recipient, voter: str, threshold: int, on_approved: OnApprovedFn | None
    ) -> None:
        super().__init__(recipient, _Tally)
        self.approved = self.counted = False
        self._voter = voter
        self._threshold = threshold
        self._on_approved = on_approved

    async def prepare_mutation(self, events: Sequence[Event], state: _Tally) -> Mutation[_Tally]:
        votes = [_decode(event.value) for event in events]
        voters = sorted({*state.voters, *(voter for voter, _ in votes)})
        self.approved, self.counted = state.approved, state.approved or self._voter in voters
        if state.approved or not votes:
            return Mutation(garbage=events)  # all of them, whoever looks
        if len(voters) < self._threshold:
            return Mutation([Transition(_Tally(votes[0][1].id, voters), events=events)])
        tally, side_effect = _Tally(votes[0][1].id, voters, True), self._approve(votes[0][1])
        return Mutation(
            [Transition(tally, events=events, side_effect=side_effect, post_process=self._note_approval)]
        )

    async def _note_approval(self) -> None:
        self.approved = True

    def _approve(self, event: StoredEvent) -> SideEffectFn | None:
        on_approved = self._on_approved
        if on_approved is None:
            return None

        async def approve(transaction: Transaction) -> None:
            await on_approved(transaction, event)

        return approve


def _encode(voter: str, event: StoredEvent) -> bytes:
    head = [voter, event.id, event.event_type, event.broadcasted, event.received]
    return json.dumps(head).encode() + b"\n" + event.data


def _decode(value: bytes) -> tuple[str, StoredEvent]:
    head, _, data = value.partition(b"\n")
    voter, event_id, event_type, broadcasted, received = json.loads(head)
    return voter, StoredEvent(event_id, event_type, data, broadcasted, received)
