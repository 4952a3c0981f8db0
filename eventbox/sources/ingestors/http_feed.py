"""`HttpFeed`: a feed over HTTP, page by page, with ETags and retries."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from random import Random, SystemRandom
from typing import Any

import httpx

from dsset.clock import Clock, SystemClock
from dsset.retry import Backoff
from eventbox.events import NewEvent
from eventbox.sources.committer import MAX_POINTER_BYTES, Pointer, check_name
from eventbox.sources.ingestor import Result
from eventbox.sources.writers import Writer

_TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))
_RETRIES = timedelta(minutes=2)
_SHORTEST_WAIT, _LONGEST_WAIT = timedelta(seconds=1), timedelta(minutes=5)
"""What is made of a `Retry-After`, at least and at most."""


class HttpFeedError(Exception):
    """The server refused, or a page is not what it should be; the message says which page."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a response holds: its items, the oldest first, and where the next page is; None: it is the last so far."""

    items: Sequence[Any]
    next: str | None


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """A place in a feed: behind `seen` items of the page at `url`; `number` counts the blocks up to it."""

    number: int
    url: str
    seen: int
    etag: str

    def encode(self) -> Pointer:
        """The pointer, which compares by the number.

        Raises:
            HttpFeedError: the page's address is too long for a pointer.
        """
        etag = self.etag
        for etag in (self.etag, ""):  # without its ETag a page is read once more: no harm
            pointer = self.number.to_bytes(8, "big") + json.dumps([self.url, self.seen, etag]).encode()
            if len(pointer) <= MAX_POINTER_BYTES:
                return pointer
        raise HttpFeedError(f"the address of a page is too long for a pointer: {self.url[:200]}...")

    @classmethod
    def decode(cls, pointer: Pointer) -> FeedPosition:
        """The place that a pointer tells.

        Raises:
            ValueError: it is none of an HTTP feed.
        """
        try:
            url, seen, etag = json.loads(pointer[8:])
            return cls(int.from_bytes(pointer[:8], "big"), str(url), int(seen), str(etag))
        except (TypeError, ValueError) as error:
            raise ValueError(f"no position in an HTTP feed: {pointer!r:.200}") from error


class HttpFeed:
    """An `Ingestor` of a feed whose pages are linked, and whose last page grows: a block for what a page has anew.

        ingestor = HttpFeed("orders", "https://shop.example/feed", httpx.AsyncClient())
        await run(lock, committer, BoxWriter(box, to), ingestor)

    Pages never change but for items that are added to the last one, and for its link to the next once there is one.
    The last page is asked for with its ETag, so that nothing is transferred while nothing happens. Timeouts, broken
    connections and the statuses 408, 425, 429, 500, 502, 503 and 504 are tried again for two minutes, with backoff or
    when `Retry-After` says.

    Args:
        name: under which its place is kept.
        url: the first page.
        client: what sends the requests; bears authentication, timeouts and so on. It is not closed.
        page_of: what a response holds; by default JSON such as `{"items": [...], "next": "/feed?page=2"}`, the link
            also as `Link: <...>; rel="next"`.
        events_of: what to emit for an item; by default its JSON.
        interval: how often to look for more; None: never, it ends with what is there.
        clock: what it waits by.
    """

    def __init__(
        self,
        name: str,
        url: str,
        client: httpx.AsyncClient,
        *,
        page_of: Callable[[httpx.Response], Page] | None = None,
        events_of: Callable[[Any], Sequence[NewEvent]] | None = None,
        interval: timedelta | None = timedelta(seconds=5),
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        if not isinstance(url, str):
            raise TypeError(f"url must be a str, not {type(url).__name__}")
        if not isinstance(client, httpx.AsyncClient):
            raise TypeError(f"client must be an httpx.AsyncClient, not {type(client).__name__}")
        self.name = check_name(name)
        self._url = url
        self._client = client
        self._page_of = page_of or json_page
        self._events_of = events_of or _as_json
        self._interval = interval
        self._clock = clock or SystemClock()
        self._rng = rng or SystemRandom()

    async def ingest(self, writer: Writer, parent: Pointer | None) -> AsyncIterator[Awaitable[Result]]:
        """See `Ingestor.ingest`. HttpFeedError where the server refuses, or does not answer for long."""
        place = FeedPosition(0, self._url, 0, "") if parent is None else FeedPosition.decode(parent)
        url, seen, etag = place.url, place.seen, place.etag
        number = place.number
        while True:
            response = await self._get(url, etag)
            if response is not None:
                page = self._page(url, response)
                if len(page.items) < seen:
                    raise HttpFeedError(f"{url}: the page has {len(page.items)} items, where it had {seen}")
                new = page.items[seen:]
                if page.next is None:
                    seen, etag = len(page.items), response.headers.get("etag", "")
                else:
                    url, seen, etag = str(response.url.join(page.next)), 0, ""
                if new or page.next is not None:
                    number += 1
                    block = FeedPosition(number, url, seen, etag).encode()
                    yield self._block(writer, parent, block, new)
                    parent = block
                if page.next is not None:
                    continue
            if self._interval is None:
                return
            await self._clock.sleep(self._interval)

    def pointer_metric(self, pointer: Pointer) -> int:
        """How many blocks that makes."""
        return int.from_bytes(pointer[:8], "big")

    async def _block(
        self, writer: Writer, parent: Pointer | None, block: Pointer, items: Sequence[Any]
    ) -> Result:
        await writer.write(self.name, block, [event for item in items for event in self._events_of(item)])
        return Result(parent, block)

    def _page(self, url: str, response: httpx.Response) -> Page:
        try:
            return self._page_of(response)
        except (TypeError, ValueError, KeyError) as error:
            raise HttpFeedError(f"{url}: the page is not what it should be: {error!r}") from error

    async def _get(self, url: str, etag: str) -> httpx.Response | None:
        """The page; None if it is as it was."""
        backoff = Backoff(self._clock, self._rng, _RETRIES)
        headers = {"if-none-match": etag} if etag else {}
        while True:
            try:
                response = await self._client.get(url, headers=headers, follow_redirects=True)
            except httpx.InvalidURL as error:
                raise HttpFeedError(f"{url}: {error}") from error
            except httpx.TransportError as error:
                if isinstance(error, httpx.UnsupportedProtocol) or not await backoff.wait():
                    raise HttpFeedError(f"{url}: {error!r}") from error
                continue
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return None
            if response.is_success:
                return response
            told = f"{url}: {response.status_code} {response.reason_phrase}"
            if response.status_code not in _TRANSIENT:
                raise HttpFeedError(told)
            wait = self._retry_after(response)
            if wait is not None:
                await self._clock.sleep(min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT))
                backoff = Backoff(self._clock, self._rng, _RETRIES)
            elif not await backoff.wait():
                raise HttpFeedError(told)

    def _retry_after(self, response: httpx.Response) -> timedelta | None:
        """How long the server asks to wait: it says so in seconds, or by a date."""
        value = response.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            return timedelta(seconds=min(int(value), 10**6))
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return max(timedelta(0), aware - self._clock.now())


def json_page(response: httpx.Response) -> Page:
    """The page in `{"items": [...], "next": ...}`; the link may also be a header.

    Raises:
        ValueError: it is something else.
    """
    body = response.json()
    if not isinstance(body, dict) or not isinstance(body.get("items"), list):
        raise ValueError('expected a JSON object with a list "items"')
    following = body.get("next") or response.links.get("next", {}).get("url")
    if following is not None and not isinstance(following, str):
        raise ValueError('"next" is no address')
    return Page(body["items"], following)


def _as_json(item: Any) -> Sequence[NewEvent]:
    return [NewEvent(json.dumps(item, sort_keys=True, separators=(",", ":")).encode())]
