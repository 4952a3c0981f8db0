"""The one error that the engine raises: a gRPC status with its message."""

from __future__ import annotations

import grpc

_MAX_MESSAGE_BYTES = 4_096
"""A message travels in a header, each byte of it as three at the worst, and clients take 8 to 16 KiB of headers."""


class Status(Exception):
    """An RPC's failure, as the fronts put it on the wire.

    `code` is the gRPC status code, `message` the text that the caller reads.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        if len(message) > _MAX_MESSAGE_BYTES // 4:
            message = _shortened(message)
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def _shortened(message: str) -> str:
    """What fits of a message that quotes something giant: its beginning and its end."""
    data = message.encode()
    if len(data) <= _MAX_MESSAGE_BYTES:
        return message
    half = _MAX_MESSAGE_BYTES // 2 - 8
    return f"{data[:half].decode(errors='ignore')} [...] {data[-half:].decode(errors='ignore')}"
