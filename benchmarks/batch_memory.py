"""What one batch takes of memory: `python -m benchmarks.batch_memory ADDRESS EVENTS BYTES` prints it in bytes.

It runs in a process of its own, beside an emulator in another one, and takes the events of the recipient
`accounts/large` at once. What it prints is the peak of its resident memory in that batch, less what the process had
after a batch of one event.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

from benchmarks.pinning import connected
from benchmarks.process_batch import Count
from eventbox import EventBox, Recipient

_STATUS = Path("/proc/self/status")


async def measure(address: str, events: int) -> int:
    """Bytes by which the batch of so many events raises what the process takes."""
    async with connected(address) as client:
        box = EventBox(client)
        small = Recipient(client.document("accounts/small"), "account")
        await box.emit(b"", small)
        await box.process_batch(small, Count(small))
        gc.collect()
        idle = _kilobytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
        large = Recipient(client.document("accounts/large"), "account")
        await box.process_batch(large, Count(large), max_events=events)
        return (_kilobytes("VmHWM") - idle) * 1024


def _kilobytes(field: str) -> int:
    """A figure of this process, as Linux tells it."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    print(asyncio.run(measure(sys.argv[1], int(sys.argv[2]))))
