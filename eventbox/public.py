"""What users import from `eventbox`, and nothing else; `eventbox` itself hands these names on."""

from __future__ import annotations

from dsset.clock import Clock, SystemClock
from eventbox.box import EventBox
from eventbox.document_processor import DocumentProcessor
from eventbox.drain import DrainReport
from eventbox.errors import (
    ContentionError,
    EmitError,
    EventboxError,
    PrepareError,
    SkipTransition,
    TransactionEndedError,
    UnknownOutcomeError,
)
from eventbox.events import Event, NewEvent, Receipt
from eventbox.listening import DocumentChange, Snapshot, listen
from eventbox.processor import Mutation, PostProcessFn, Processor, SideEffectFn, Transition, chain
from eventbox.quarantined_event import QuarantinedEvent
from eventbox.recipient import Recipient
from eventbox.transaction import Transaction

__all__ = [
    "Clock",
    "ContentionError",
    "DocumentChange",
    "DocumentProcessor",
    "DrainReport",
    "EmitError",
    "Event",
    "EventBox",
    "EventboxError",
    "Mutation",
    "NewEvent",
    "PostProcessFn",
    "PrepareError",
    "Processor",
    "QuarantinedEvent",
    "Receipt",
    "Recipient",
    "SideEffectFn",
    "SkipTransition",
    "Snapshot",
    "SystemClock",
    "Transaction",
    "TransactionEndedError",
    "Transition",
    "UnknownOutcomeError",
    "chain",
    "listen",
]
