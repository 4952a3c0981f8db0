"""Many RPCs at a time over one gRPC channel."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc

IN_FLIGHT = 32


def pipelined(stub: Any, requests: Sequence[bytes], in_flight: int = IN_FLIGHT) -> float:
    """Seconds that the requests take, so many at a time."""
    room = threading.Semaphore(in_flight)
    failed: list[Any] = []

    def done(call: Any) -> None:
        if call.code() is not grpc.StatusCode.OK:
            failed.append(call)
        room.release()

    begin = time.perf_counter()
    for request in requests:
        room.acquire()
        stub.future(request).add_done_callback(done)
    for _ in range(in_flight):
        room.acquire()
    if failed:
        raise RuntimeError(f"{len(failed)} RPCs failed: {failed[0].details()}")
    return time.perf_counter() - begin
