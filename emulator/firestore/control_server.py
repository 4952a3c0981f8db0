"""The control port: orders for an emulator over HTTP, for tests in any language, and for nobody's web page.

A page in a browser on the same machine could reach a port on loopback. So requests are refused that a page of another
origin has made (`Origin`, `Sec-Fetch-Site`), and those that call the server by a name of the page's choosing (`Host`),
which is how DNS rebinding makes itself the same origin.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from emulator.firestore.control import Control, NoSuchFaultError, UnmovableClockError

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_MAX_BODY = 2**18
"""Bytes; an order has a few hundred."""

_STOPPING = 0.5
"""Seconds that requests under way have when the server stops."""


@asynccontextmanager
async def control_server(control: Control, address: str) -> AsyncIterator[str]:
    """Serve on an address such as "127.0.0.1:0" (0: any free port); gives the base URL.

    Raises:
        OSError: the address cannot be bound.
    """
    host, _, port = address.rpartition(":")
    name = host.strip("[]")
    app = web.Application(client_max_size=_MAX_BODY, middlewares=[_errors_as_json, _for_no_web_page(name)])
    app.add_routes(_routes(control))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOPPING)
    await runner.setup()
    try:
        await web.TCPSite(runner, name, int(port)).start()
        bound: Any = runner.addresses[0]
        yield f"http://{host}:{bound[1]}"
    finally:
        await runner.cleanup()


def _routes(control: Control) -> list[web.RouteDef]:
    async def counts(request: web.Request) -> web.Response:
        return web.json_response(control.counts())

    async def reset_counts(request: web.Request) -> web.Response:
        return web.json_response(control.reset_counts())

    async def clear(request: web.Request) -> web.Response:
        for name in request.query:
            if name not in ("project", "database"):
                raise ValueError(f"unknown parameter {name!r}: expected project and database, or neither")
        return web.json_response(control.clear(request.query.get("project"), request.query.get("database")))

    async def clear_database(request: web.Request) -> web.Response:
        return web.json_response(control.clear(request.match_info["project"], request.match_info["database"]))

    async def add_fault(request: web.Request) -> web.Response:
        return web.json_response(control.add_fault(await _content(request)), status=201)

    async def faults(request: web.Request) -> web.Response:
        return web.json_response(control.faults())

    async def remove_fault(request: web.Request) -> web.Response:
        return web.json_response(control.remove_fault(int(request.match_info["id"])))

    async def clear_faults(request: web.Request) -> web.Response:
        return web.json_response(control.clear_faults())

    async def clock(request: web.Request) -> web.Response:
        return web.json_response(control.clock())

    async def advance(request: web.Request) -> web.Response:
        content = await _content(request)
        if not isinstance(content, dict) or set(content) != {"seconds"}:
            raise ValueError(f'expected {{"seconds": <number>}}, not {content!r}')
        return web.json_response(control.advance(content["seconds"]))

    async def healthz(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    return [
        web.get("/healthz", healthz),
        web.get("/counts", counts),
        web.post("/counts/reset", reset_counts),
        web.post("/clear", clear),
        # the official emulator's way, which other people's suites go
        web.delete("/emulator/v1/projects/{project}/databases/{database}/documents", clear_database),
        web.post("/faults", add_fault),
        web.get("/faults", faults),
        web.delete("/faults", clear_faults),
        web.delete(r"/faults/{id:\d{1,18}}", remove_fault),
        web.get("/clock", clock),
        web.post("/clock/advance", advance),
    ]


async def _content(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the request's body is no JSON: {error}") from error


@web.middleware
async def _errors_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ValueError as error:
        return _error(400, str(error))
    except NoSuchFaultError as error:
        return _error(404, str(error))
    except UnmovableClockError as error:
        return _error(409, str(error))
    except web.HTTPException as error:
        response = _error(error.status, f"{error.reason}: {request.method} {request.path}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response


def _for_no_web_page(bound: str) -> Any:
    @web.middleware
    async def refuse(request: web.Request, handler: _Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if not _is_own_name(host, bound):
            return _error(
                403,
                f"the Host header must be localhost, an IP address, or {bound}, not {host!r}: "
                "other names may lead here by DNS rebinding",
            )
        origin = request.headers.get("Origin", f"http://{host}")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if origin != f"http://{host}" or site not in ("none", "same-origin"):
            return _error(403, "web pages may not control the emulator")
        return await handler(request)

    return refuse


def _is_own_name(host: str, bound: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", bound.lower()):
            return bool(name)
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
