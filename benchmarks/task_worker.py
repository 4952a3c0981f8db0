"""A worker that answers every task at once: `python -m benchmarks.task_worker COUNT`.

It prints its port, and a line each time COUNT more requests have come in. It reads no more of HTTP than the emulator
sends it, so that it is not what is measured.
"""

from __future__ import annotations

import asyncio
import sys

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Worker(asyncio.Protocol):
    """One connection, on which requests without a body come in, one after the other."""

    _seen = 0
    _each = 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while b"\r\n\r\n" in self._rest:
            _, _, self._rest = self._rest.partition(b"\r\n\r\n")
            self._transport.write(_ANSWER)
            Worker._seen += 1
            if Worker._seen % Worker._each == 0:
                print("done", flush=True)


async def serve(each: int) -> None:
    """Serve until the process is killed."""
    Worker._each = each
    server = await asyncio.get_running_loop().create_server(Worker, "127.0.0.1", 0, backlog=2_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
