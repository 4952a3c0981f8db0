"""Who carries what goes to a URL: an application that is mounted there, or HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import lru_cache
from urllib.parse import urlsplit

from grpc import StatusCode

from emulator.clock import Clock
from emulator.tasks.asgi_dispatch import AsgiApp, AsgiDispatcher
from emulator.tasks.dispatch import Attempt, Delivery
from emulator.tasks.http_dispatch import HttpDispatcher

_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]


class Workers:
    """The applications that are mounted, by base URL, and HTTP for all others."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mounted: dict[Origin, list[tuple[str, AsgiDispatcher]]] = {}
        self._http: dict[asyncio.AbstractEventLoop, HttpDispatcher] = {}
        self._users: Counter[asyncio.AbstractEventLoop] = Counter()

    def mount(self, url: str, app: AsgiApp) -> None:
        """Let an application have what lies at and below a base URL; the longest one decides, and the latest.

        Raises:
            ValueError: it is no base URL.
        """
        origin, path = split(url, base=True)
        path = path.rstrip("/")
        mounted = [one for one in self._mounted.get(origin, ()) if one[0] != path]
        mounted.append((path, AsgiDispatcher(app, path, self._clock)))
        mounted.sort(key=lambda one: len(one[0]), reverse=True)
        self._mounted[origin] = mounted

    async def dispatch(self, delivery: Delivery) -> Attempt:
        """Deliver to whoever has the URL."""
        if self._mounted:
            try:
                origin, path = split(delivery.url)
            except ValueError as error:
                return Attempt(None, StatusCode.INVALID_ARGUMENT, f"{delivery.url} cannot be called: {error}")
            for base, dispatcher in self._mounted.get(origin, ()):
                if path == base or path.startswith(f"{base}/") or not base:
                    return await dispatcher.dispatch(delivery)
        self.enter()
        try:
            loop = asyncio.get_running_loop()
            if loop not in self._http:
                self._http[loop] = HttpDispatcher(self._clock)
            return await self._http[loop].dispatch(delivery)
        finally:
            await self.leave()

    def enter(self) -> None:
        """Keep the connections of this event loop open until whoever has entered has left."""
        self._users[asyncio.get_running_loop()] += 1

    async def leave(self) -> None:
        """Close the connections of this event loop, if nobody else needs them."""
        loop = asyncio.get_running_loop()
        self._users[loop] -= 1
        if not self._users[loop]:
            del self._users[loop]
            http = self._http.pop(loop, None)
            if http is not None:
                await http.aclose()


@lru_cache(maxsize=4_096)
def split(url: str, *, base: bool = False) -> tuple[Origin, str]:
    """Where a URL leads to, and its path; a base URL has neither a query nor a fragment.

    Raises:
        ValueError: it is no URL of HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f'url must be an http or https one, such as "http://worker:8080", not {url!r}')
    if base and (parts.query or parts.fragment):
        raise ValueError(f"the URL to mount at must have no query and no fragment: {url!r}")
    return (parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]), parts.path
