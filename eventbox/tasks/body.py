"""Reading a request's body, but not more of it than there may be."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

_TIMEOUT_S = 30.0


class BodyTooLargeError(Exception):
    """There is more of it than there may be."""


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body.

    Raises:
        BodyTooLargeError: it is larger than that; the rest of it was not read.
        TimeoutError: it did not come within 30 s.
        ClientDisconnect: the caller has gone.
    """
    body = bytearray()
    async with asyncio.timeout(_TIMEOUT_S):
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise BodyTooLargeError(f"the body is larger than {max_bytes} bytes")
    return bytes(body)
