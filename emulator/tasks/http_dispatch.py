"""Dispatching tasks over HTTP, as Cloud Tasks calls a URL."""

from __future__ import annotations

import asyncio

import aiohttp
from grpc import StatusCode
from yarl import URL

from emulator.clock import Clock, SystemClock
from emulator.tasks.dispatch import Attempt, Delivery
from emulator.tasks.retry_after import parse_retry_after

_KEEP_ALIVE = 4.0
"""Seconds that an idle connection is kept: less than uvicorn's 5, which could close one as a task is being sent."""

_DNS_CACHE = 10  # s

_ADDED_BY_AIOHTTP = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class HttpDispatcher:
    """Sends deliveries over HTTP/1.1, on connections that are kept and shared, as many at a time as it is asked to.

    Redirects are not followed, cookies not kept, and proxies of the environment not used. A request has the headers of
    its delivery, `Host`, and `Content-Length` where it may have a body: nothing else. An answer counts once all of it
    is there, and its body is thrown away.

    Use it in one event loop, and `aclose` it there.

    Args:
        clock: what deadlines go by.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._session: aiohttp.ClientSession | None = None

    async def dispatch(self, delivery: Delivery) -> Attempt:
        """The status of the worker's answer; none where there was no whole answer by the deadline, and why."""
        try:
            if isinstance(self._clock, SystemClock):
                async with asyncio.timeout(delivery.deadline.total_seconds()):
                    return await self._send(delivery)
            return await self._send_by_the_clock(delivery)
        except TimeoutError:
            return Attempt(
                None,
                StatusCode.DEADLINE_EXCEEDED,
                f"{delivery.url} gave no whole answer within {delivery.deadline.total_seconds():g} s",
            )
        except (aiohttp.InvalidURL, ValueError) as error:
            return Attempt(None, StatusCode.INVALID_ARGUMENT, f"{delivery.url} cannot be called: {error}")
        except (aiohttp.ClientError, OSError) as error:
            return Attempt(None, StatusCode.UNAVAILABLE, f"{type(error).__name__}: {error}")

    async def aclose(self) -> None:
        """Close all connections; what is under way gets no answer. It opens new ones when it is used again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(self, delivery: Delivery) -> Attempt:
        session = self._session or self._open()
        async with session.request(
            delivery.method,
            URL(delivery.url, encoded=True),  # as it is: the engine has encoded what has to be
            headers=delivery.headers,
            data=delivery.body or None,
            allow_redirects=False,
        ) as response:
            if not response.content.at_eof():
                async for _ in response.content.iter_any():
                    pass
            return Attempt(
                response.status, retry_after=parse_retry_after(response.headers.get("Retry-After"))
            )

    async def _send_by_the_clock(self, delivery: Delivery) -> Attempt:
        sending = asyncio.ensure_future(self._send(delivery))
        timer = asyncio.ensure_future(self._clock.sleep(delivery.deadline))
        try:
            await asyncio.wait([sending, timer], return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise TimeoutError
            return sending.result()
        finally:
            timer.cancel()
            sending.cancel()
            await asyncio.wait([sending])

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, ttl_dns_cache=_DNS_CACHE),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_ADDED_BY_AIOHTTP,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
        )
        return self._session
