"""`HttpFeed`: every item once, against a server that pages, answers 304, fails and asks for patience."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from aiohttp import web

from eventbox.sources.ingestors.http_feed import FeedPosition, HttpFeed, HttpFeedError, Page
from eventbox.testing import ManualClock
from tests.eventbox.sources.taking_in import take_in


class Feed:
    """A local server: pages of `size` items, linked in the body or by a header."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.size = 3
        self.by_header = False
        self.failures: list[web.Response | None] = []  # None: the connection breaks
        self.statuses: list[int] = []
        self.url = ""

    async def redirect(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/feed"})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.failures:
            failure = self.failures.pop(0)
            if failure is None:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            self.statuses.append(failure.status)
            return failure
        page = int(request.query.get("page", 0))
        items = self.items[page * self.size : (page + 1) * self.size]
        etag = f'"{len(items)}"'
        following = f"?page={page + 1}" if len(self.items) > (page + 1) * self.size else None
        if following is None and request.headers.get("If-None-Match") == etag:
            self.statuses.append(304)
            return web.Response(status=304)
        self.statuses.append(200)
        headers = {"ETag": etag}
        body: dict[str, Any] = {"items": items}
        if following and self.by_header:
            headers["Link"] = f'<{following}>; rel="next"'
        elif following:
            body["next"] = following
        return web.json_response(body, headers=headers)


@pytest.fixture
async def feed() -> AsyncIterator[Feed]:
    feed = Feed()
    app = web.Application()
    app.router.add_get("/feed", feed.answer)
    app.router.add_get("/moved", feed.redirect)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    feed.url = f"http://127.0.0.1:{runner.addresses[0][1]}/feed"
    yield feed
    await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


async def test_every_item_is_taken_in_once_wherever_it_was_interrupted(
    feed: Any, http: httpx.AsyncClient
) -> None:
    got, place = [], None
    for n in range(40):
        feed.items.extend([{"n": n, "i": i} for i in range(n % 3)])
        feed.by_header = n % 2 == 0
        taken = await take_in(HttpFeed("feed", feed.url, http, interval=None), place, at_most=1)
        got += taken.events
        place = taken.place
    got += (await take_in(HttpFeed("feed", feed.url, http, interval=None), place)).events
    assert [json.loads(event.value) for event in got] == feed.items


async def test_nothing_is_transferred_while_nothing_happens_also_after_a_restart(
    feed: Any, http: httpx.AsyncClient
) -> None:
    feed.items = [1, 2, 3, 4]
    taken = await take_in(HttpFeed("feed", feed.url, http, interval=None), None)
    assert taken.blocks == 2
    feed.statuses.clear()
    for _ in range(3):
        assert (await take_in(HttpFeed("feed", feed.url, http, interval=None), taken.place)).blocks == 0
    assert feed.statuses == [304, 304, 304]
    feed.items.append(5)
    more = await take_in(HttpFeed("feed", feed.url, http, interval=None), taken.place)
    assert [event.value for event in more.events] == [b"5"]


async def test_what_passes_is_tried_again_with_backoff(
    feed: Any, http: httpx.AsyncClient, clock: ManualClock
) -> None:
    feed.items = [1]
    feed.failures = [web.Response(status=status) for status in (500, 502, 503, 504, 429, 408)] + [None]
    begin = clock.now()
    ingestor = HttpFeed("feed", feed.url, http, interval=None, clock=clock)
    taken = await advancing_in_real_time(clock, take_in(ingestor, None))
    assert len(taken.events) == 1
    assert clock.now() - begin > timedelta(seconds=3)


@pytest.mark.parametrize("by_date", [True, False])
async def test_it_waits_for_as_long_as_the_server_asks(
    feed: Any, http: httpx.AsyncClient, clock: ManualClock, by_date: bool
) -> None:
    feed.items = [1]
    begin = clock.now()
    asked = format_datetime(begin + timedelta(seconds=200), usegmt=True) if by_date else "200"
    feed.failures = [
        web.Response(status=503, headers={"Retry-After": asked}),
        web.Response(status=429, headers={"Retry-After": "nonsense"}),
    ]
    await advancing_in_real_time(
        clock, take_in(HttpFeed("feed", feed.url, http, interval=None, clock=clock), None)
    )
    assert timedelta(seconds=200) <= clock.now() - begin < timedelta(seconds=202)


async def test_what_does_not_pass_is_an_error_that_says_where(
    feed: Any, http: httpx.AsyncClient, clock: ManualClock
) -> None:
    def ingestor(url: str = feed.url) -> HttpFeed:
        return HttpFeed("feed", url, http, interval=None, clock=clock)

    feed.failures = [web.Response(status=403)]
    with pytest.raises(HttpFeedError, match=r"/feed: 403 Forbidden"):
        await take_in(ingestor(), None)
    for body in ("[]", "no JSON", '{"items": 1}', '{"items": [], "next": 1}'):
        feed.failures = [web.Response(text=body)]
        with pytest.raises(HttpFeedError, match="is not what it should be"):
            await take_in(ingestor(), None)
    feed.failures = [web.Response(status=500) for _ in range(1_000)]
    with pytest.raises(HttpFeedError, match="500"):
        await advancing_in_real_time(clock, take_in(ingestor(), None))
    feed.failures.clear()
    feed.items = [1, 2]
    place = (await take_in(ingestor(), None)).place
    feed.items = [1]
    with pytest.raises(HttpFeedError, match="has 1 items, where it had 2"):
        await take_in(ingestor(), place)
    for url in ("ftp://a/b", "http://", "http://127.0.0.1:1/"):
        with pytest.raises(HttpFeedError):
            await advancing_in_real_time(clock, take_in(ingestor(url), None))


async def test_redirects_are_followed_and_pages_may_be_decoded_otherwise(
    feed: Any, http: httpx.AsyncClient
) -> None:
    feed.items = [1, 2, 3, 4, 5]

    def page_of(response: httpx.Response) -> Page:
        body = response.json()
        return Page(body["items"], body.get("next"))

    ingestor = HttpFeed("feed", feed.url.replace("feed", "moved"), http, page_of=page_of, interval=None)
    assert len((await take_in(ingestor, None)).events) == 5


def test_places_are_read_back_and_what_is_none_is_refused() -> None:
    place = FeedPosition(3, "http://a/b?c=ü", 4, 'W/"x"')
    assert FeedPosition.decode(place.encode()) == place
    assert FeedPosition.decode(FeedPosition(3, "u" * 900, 4, "e" * 900).encode()).etag == ""
    with pytest.raises(HttpFeedError, match="too long"):
        FeedPosition(3, "u" * 1_100, 4, "").encode()
    for pointer in (b"", b"\0" * 8, b"\0" * 8 + b"[1]", b"\0" * 8 + b'["a", "b", "c"]'):
        with pytest.raises(ValueError, match="no position"):
            FeedPosition.decode(pointer)


async def test_bad_arguments_are_refused(http: httpx.AsyncClient) -> None:
    with pytest.raises(TypeError, match="url"):
        HttpFeed("a", b"http://a", http)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="AsyncClient"):
        HttpFeed("a", "http://a", "client")  # type: ignore[arg-type]


async def advancing_in_real_time(clock: ManualClock, work: Any) -> Any:
    """As `while_advancing`, for work that also waits for sockets."""
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.wait([task], timeout=0.02)
        if clock.next_wake is not None and not task.done():
            clock.advance(clock.next_wake - clock.now())
    return await task
