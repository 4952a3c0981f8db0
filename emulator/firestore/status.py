"""The one error that the engine raises: a gRPC status with its message."""

from __future__ import annotations

import grpc


class Status(Exception):
    """An RPC's failure, as the fronts put it on the wire.

    `code` is the gRPC status code, `message` the text that the caller reads.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"
