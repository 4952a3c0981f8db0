"""A Firestore on this machine: `Emulator`, and the `Fault`s that a test orders from it."""

from __future__ import annotations

from emulator.fault_latency import Latency
from emulator.faults import Faults, PendingFault
from emulator.firestore.counts import Counts
from emulator.firestore.document_lines import InvalidLine
from emulator.firestore.emulator import Emulator
from emulator.firestore.faults import Fault

__all__ = ["Counts", "Emulator", "Fault", "Faults", "InvalidLine", "Latency", "PendingFault"]
