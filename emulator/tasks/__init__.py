"""A Cloud Tasks on this machine: `TasksEmulator`, and the `Fault`s that a test orders from it."""

from __future__ import annotations

from emulator.fault_latency import Latency
from emulator.faults import Faults, PendingFault
from emulator.tasks.counts import Counts
from emulator.tasks.emulator import TasksEmulator
from emulator.tasks.faults import Fault

__all__ = ["Counts", "Fault", "Faults", "Latency", "PendingFault", "TasksEmulator"]
