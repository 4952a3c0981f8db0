"""A Firestore on this machine: `Emulator`, and the `Fault`s that a test orders from it."""

from __future__ import annotations

from emulator.firestore.counts import Counts
from emulator.firestore.document_lines import InvalidLine
from emulator.firestore.emulator import Emulator
from emulator.firestore.fault_latency import Latency
from emulator.firestore.faults import Fault, Faults, PendingFault

__all__ = ["Counts", "Emulator", "Fault", "Faults", "InvalidLine", "Latency", "PendingFault"]
