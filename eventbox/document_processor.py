"""`DocumentProcessor`: the state is the recipient's own document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from dsset import protos
from dsset.encoded_writes import bytes_entry, number_entry, update
from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire
from eventbox.batch_scope import BatchScope
from eventbox.commit import Outcome
from eventbox.events import Event
from eventbox.processor import Mutation
from eventbox.recipient import Recipient
from eventbox.state_codec import Encoded, StateCodec
from eventbox.transaction import Transaction

S = TypeVar("S")

EVERSION = "eventbox_eversion"
TOKEN = "eventbox_token"

_TIMEOUT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Loaded(Generic[S]):
    """The document as it was loaded. `encoded` is what would have been written for it, before anyone changed it."""

    state: S
    eversion: int
    version: Any | None  # the document's update time; None: there is none
    encoded: Encoded


class DocumentProcessor(Generic[S]):
    """A processor whose state is the recipient's document. A subclass writes `prepare_mutation`.

        @dataclass
        class Counter:
            total: int = 0

        class Count(DocumentProcessor[Counter]):
            def __init__(self, recipient: Recipient) -> None:
                super().__init__(recipient, Counter)

            async def prepare_mutation(self, events, state):
                state.total += len(events)
                return Mutation([Transition(state, events=events)])

    A state may be changed in place, unless a side effect may raise `SkipTransition`: what belongs to the skipped
    transition could not be taken back, and that is a ValueError. Fields of the document that the state does not know
    are kept. Its eversion is the field `eventbox_eversion`; that and `eventbox_token` are the only fields of ours in
    your document.

    Args:
        recipient: whose document it is.
        state_type: a dataclass, a pydantic model, or dict.
        initial: the state of a document that does not exist; `state_type()` by default.

    Raises (from `load_state`, and so from `process_batch`):
        pydantic.ValidationError: the document does not fit the state's type.

    Cost of a batch: see `EventBox.process_batch`. Loading is 1 read, and saving is 1 write that carries the version
    check as its precondition, so the transaction needs no read. Where a batch leaves the state as it is, a write that
    changes nothing carries the check; where there is no document either, 1 read in the transaction does (and 1 round
    trip more).
    """

    def __init__(
        self, recipient: Recipient, state_type: type[S], *, initial: Callable[[], S] | None = None
    ) -> None:
        if not isinstance(recipient, Recipient):
            raise TypeError(f"recipient must be a Recipient, not {type(recipient).__name__}")
        self.recipient = recipient
        self._codec = StateCodec(state_type)
        self._initial: Callable[[], S] = initial or state_type
        self._name: str = recipient.ref._document_path
        self._client = recipient.ref._client
        self._last: _Loaded[S] | None = None

    async def prepare_mutation(self, events: Sequence[Event], state: S) -> Mutation[S]:
        """What a subclass writes: see `Processor.prepare_mutation`."""
        raise NotImplementedError(f"{type(self).__name__} must define prepare_mutation")

    async def load_state(self) -> tuple[S, int]:
        """Read the document: 1 RPC, 1 read."""
        document = await self._fetch(mask=None)
        if document is None:
            state, eversion, version = self._initial(), 0, None
        else:
            state = self._codec.decode(document, self._client)
            # `in` first: reading an absent key of a protobuf map creates it
            eversion = document.fields[EVERSION].integer_value if EVERSION in document.fields else 0
            version = document.update_time
        self._last = _Loaded(state, eversion, version, self._codec.encode(state))
        BatchScope.current().loaded[id(self)] = self._last
        return state, eversion

    async def fetch_eversion(self, transaction: Transaction) -> int:
        """The eversion that was loaded, which the commit will demand: no read."""
        loaded = self._loaded
        transaction._verify(self._name, loaded.version)
        return loaded.eversion

    async def save_state(self, transaction: Transaction, state: S, eversion: int) -> None:
        """Write the state, its eversion and the batch's token: 1 write, as part of the commit."""
        encoded = BatchScope.current().saved[id(self)] = self._codec.encode(state)
        entries = b"%b%b%b" % (
            encoded.entries,
            number_entry(EVERSION.encode(), eversion),
            bytes_entry(TOKEN.encode(), transaction.token),
        )
        mask = [*encoded.mask_paths(self._loaded.encoded), EVERSION, TOKEN]
        transaction._staging.change_verified(update(self._name, entries, mask))

    # What the core asks of a processor that offers it -----------------------------------------------------

    def _keep(self, transaction: Transaction, response: Any, state: S, eversion: int, saved: bool) -> Any:
        """What to go on from after a commit, as if loaded; None where only loading tells what lies there now."""
        staging, loaded = transaction._staging, self._loaded
        own = type(self)
        if (
            own.load_state is not DocumentProcessor.load_state
            or own.save_state is not DocumentProcessor.save_state
        ):
            return None  # it may load more than the document, or save another state than it was given
        if not saved:
            encoded, version = loaded.encoded, loaded.version
            if staging.is_written(self._name):
                return None
        else:
            place = staging.place_of_change(self._name)
            if place is None:
                return None
            # not the state as it is now: a callback may have changed it since
            encoded, version = BatchScope.current().saved[id(self)], response.write_results[place].update_time
        # a state of its own, as it would be loaded: callbacks may change theirs, and a tuple is read as a list
        try:
            if version is None:
                state = self._initial()
                encoded = self._codec.encode(state)
            else:
                state = self._codec.decode(protos.Document.FromString(encoded.entries), self._client)
        except Exception:
            return None  # loading tells the same, where it fails no batch that stands
        return _Loaded(state, eversion, version, encoded)

    def _resume(self, loaded: Any) -> None:
        """Go on from what `_keep` has said, in the batch that begins."""
        self._last = loaded
        BatchScope.current().loaded[id(self)] = loaded

    def _unchanged(self, state: S) -> bool:
        """Whether the state would be written as it was when it was loaded."""
        return self._codec.encode(state).entries == self._loaded.encoded.entries

    def _same_state(self, before: S, after: S) -> bool:
        """Whether two states would be written the same, as they are now."""
        return self._codec.encode(before).entries == self._codec.encode(after).entries

    def _changed_in_place(self) -> bool:
        """Whether the object that was loaded is no longer as it was."""
        return not self._unchanged(self._loaded.state)

    async def _was_saved(self, token: bytes, eversion: int) -> Outcome:
        """What became of the batch of this token, which was to save this eversion."""
        document = await self._fetch(mask=(EVERSION, TOKEN))
        loaded = self._loaded
        if document is None:
            return Outcome.PENDING if loaded.version is None else Outcome.UNKNOWN
        fields = document.fields
        if fields[TOKEN].bytes_value == token:
            return Outcome.DONE
        now = fields[EVERSION].integer_value
        if now == eversion:
            return Outcome.NEVER  # another's save has this eversion
        if document.update_time == loaded.version:
            return Outcome.PENDING
        # written since, by somebody who kept the eversion as it was loaded: ours would have raised it
        return Outcome.NEVER if 0 < now == loaded.eversion else Outcome.UNKNOWN

    @property
    def _loaded(self) -> _Loaded[S]:
        loaded = BatchScope.current().loaded.get(id(self), self._last)
        if loaded is None:
            raise RuntimeError(f"{type(self).__name__}: load_state must come first")
        return loaded  # type: ignore[no-any-return]

    async def _fetch(self, mask: Sequence[str] | None) -> Any | None:
        wire = Wire.of(self._client)
        scope = BatchScope.current()
        return await retry_transient(
            lambda timeout: wire.get(self._name, mask=mask, timeout=timeout),
            Backoff(scope.clock, scope.rng, _TIMEOUT),
        )
