"""What the official emulator answers over HTTP at Firestore's own port, of which other people's suites make use."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

from emulator.firestore.control import Control

if TYPE_CHECKING:
    from aiohttp import web

_DOCUMENTS = re.compile(r"/emulator/v1/projects/([^/]+)/databases/([^/]+)/documents/?")

_STOPPING = 0.5
"""Seconds that requests under way have when the server stops."""


class ClearingOverHttp:
    """Makes the protocol of connections that speak HTTP/1.1: `DELETE` of a database's documents, and `GET /`."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._server: web.Server | None = None

    def __call__(self) -> asyncio.Protocol:
        if self._server is None:
            from aiohttp import web  # its imports take as long as all others, and few make use of it

            self._server = web.Server(self._answer, access_log=None)
        return self._server()

    async def close(self) -> None:
        """Hang up on whoever is connected."""
        if self._server is not None:
            await self._server.shutdown(_STOPPING)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/" and request.method in ("GET", "HEAD"):
            return _response(200, b"Ok\n", "text/plain")
        documents = _DOCUMENTS.fullmatch(request.path)
        if documents is None:
            return _error(
                404,
                f"{request.method} {request.path}: this port speaks gRPC; over HTTP it only clears databases (DELETE "
                "/emulator/v1/projects/{project}/databases/{database}/documents); the rest is at the control port",
            )
        if request.method != "DELETE":
            return _error(405, f"{request.method} {request.path}: only DELETE is there", {"Allow": "DELETE"})
        # Browsers name the page that deletes; others do not. A page that reaches this port, by a name of its own
        # making as well (DNS rebinding), shall not delete anything.
        if "Origin" in request.headers or "Sec-Fetch-Site" in request.headers:
            return _error(403, "web pages may not clear the emulator")
        try:
            self._control.clear(*documents.groups())
        except ValueError as error:
            return _error(400, str(error))
        return _response(200, b"{}", "application/json")


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return _response(status, json.dumps({"error": message}).encode(), "application/json", headers)


def _response(
    status: int, body: bytes, content_type: str, headers: dict[str, str] | None = None
) -> web.Response:
    from aiohttp import web

    return web.Response(status=status, body=body, content_type=content_type, headers=headers)
