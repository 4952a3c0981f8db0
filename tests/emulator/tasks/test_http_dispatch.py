"""Deliveries over HTTP: what goes out to the byte, and what is made of whatever comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from grpc import StatusCode

from emulator.manual_clock import ManualClock
from emulator.tasks.dispatch import Attempt, Delivery
from emulator.tasks.http_dispatch import HttpDispatcher
from tests.emulator.tasks.raw_worker import OK, RawWorker, raw_worker


@pytest.fixture
async def worker() -> AsyncIterator[RawWorker]:
    async with raw_worker() as worker:
        yield worker


@pytest.fixture
async def dispatcher() -> AsyncIterator[HttpDispatcher]:
    dispatcher = HttpDispatcher()
    yield dispatcher
    await dispatcher.aclose()


def delivery(url: str, **changes: object) -> Delivery:
    plain = Delivery(
        method="POST",
        url=url,
        headers={"User-Agent": "Google-Cloud-Tasks", "X-Mixed-case": "a, b"},
        body=b"\x00\xffbody",
        deadline=timedelta(seconds=10),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


async def test_a_request_is_what_the_delivery_says_and_host_and_length(
    worker: RawWorker, dispatcher: HttpDispatcher
) -> None:
    attempt = await dispatcher.dispatch(delivery(f"{worker.url}/a%2Fb/%7Ec?x=%20y&z=+#f"))
    assert attempt == Attempt(200)
    head, _, body = worker.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    assert line == "POST /a%2Fb/%7Ec?x=%20y&z=+ HTTP/1.1"
    assert sorted(headers) == [
        "Content-Length: 6",
        f"Host: {worker.url.removeprefix('http://')}",
        "User-Agent: Google-Cloud-Tasks",
        "X-Mixed-case: a, b",
    ]
    assert body == b"\x00\xffbody"


@pytest.mark.parametrize(
    ("method", "length"),
    [
        ("GET", []),
        ("HEAD", []),
        ("POST", ["Content-Length: 0"]),
        ("PUT", ["Content-Length: 0"]),
        ("DELETE", None),
    ],
)
async def test_a_request_without_a_body_says_so(
    worker: RawWorker, dispatcher: HttpDispatcher, method: str, length: list[str] | None
) -> None:
    if method == "HEAD":
        worker.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    attempt = await dispatcher.dispatch(delivery(worker.url, method=method, body=b"", headers={}))
    assert attempt.succeeded
    line, _, *headers = worker.requests[0].decode().removesuffix("\r\n\r\n").split("\r\n")
    assert line == f"{method} / HTTP/1.1"
    assert headers in ([[], ["Content-Length: 0"]] if length is None else [length])


async def test_connections_are_kept_and_shared(worker: RawWorker, dispatcher: HttpDispatcher) -> None:
    for _ in range(20):
        assert (await dispatcher.dispatch(delivery(worker.url))).succeeded
    assert worker.connections == 1


async def test_as_many_are_sent_at_a_time_as_it_is_asked_to(
    worker: RawWorker, dispatcher: HttpDispatcher
) -> None:
    worker.answer = None
    calls = [asyncio.ensure_future(dispatcher.dispatch(delivery(worker.url))) for _ in range(150)]
    while len(worker.requests) < 150:  # more than aiohttp's 100
        worker.asked.clear()
        await worker.asked.wait()
    for call in calls:
        call.cancel()
    assert all(
        isinstance(one, asyncio.CancelledError)
        for one in await asyncio.gather(*calls, return_exceptions=True)
    )


@pytest.mark.parametrize("status", [200, 201, 299, 301, 307, 400, 404, 429, 500, 503, 599])
async def test_the_status_of_an_answer_is_told_and_no_redirect_followed(
    worker: RawWorker, dispatcher: HttpDispatcher, status: int
) -> None:
    worker.answer = (
        f"HTTP/1.1 {status} X\r\nLocation: {worker.url}/other\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    for _ in range(2):
        attempt = await dispatcher.dispatch(delivery(worker.url))
        assert (attempt.status, attempt.succeeded) == (status, status < 300)
    assert len(worker.requests) == 2


async def test_cookies_are_not_kept(worker: RawWorker, dispatcher: HttpDispatcher) -> None:
    worker.answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    for _ in range(2):  # by a name: nobody keeps cookies of an IP address
        await dispatcher.dispatch(delivery(worker.url.replace("127.0.0.1", "localhost")))
    assert len(worker.requests) == 2
    assert b"cookie" not in worker.requests[1].lower()


async def test_a_large_answer_is_read_to_its_end_and_one_with_an_encoding_not_decoded(
    worker: RawWorker, dispatcher: HttpDispatcher
) -> None:
    worker.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    )
    for _ in range(3):
        assert await dispatcher.dispatch(delivery(worker.url)) == Attempt(200)
    assert worker.connections == 1


async def test_nobody_there_is_no_answer(dispatcher: HttpDispatcher) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        attempt = await dispatcher.dispatch(delivery(f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert (attempt.status, attempt.failure) == (None, StatusCode.UNAVAILABLE)
    assert "Cannot connect" in attempt.message


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"nonsense\r\n\r\n",
    ],
)
async def test_an_answer_that_breaks_off_or_is_none_is_no_answer(
    worker: RawWorker, dispatcher: HttpDispatcher, answer: bytes
) -> None:
    worker.answer, worker.hang_up = answer, True
    attempt = await dispatcher.dispatch(delivery(worker.url))
    assert (attempt.status, attempt.failure, bool(attempt.message)) == (None, StatusCode.UNAVAILABLE, True)
    worker.answer, worker.hang_up = OK, False
    assert await dispatcher.dispatch(delivery(worker.url)) == Attempt(200)


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
async def test_past_its_deadline_a_worker_is_not_listened_to(
    worker: RawWorker, dispatcher: HttpDispatcher, answer: bytes | None
) -> None:
    worker.answer = answer
    attempt = await dispatcher.dispatch(delivery(worker.url, deadline=timedelta(seconds=0.25)))
    assert (attempt.status, attempt.failure) == (None, StatusCode.DEADLINE_EXCEEDED)
    assert "within 0.25 s" in attempt.message
    worker.answer = OK
    before = worker.connections  # none, where the deadline had passed before there was one
    assert await dispatcher.dispatch(delivery(worker.url)) == Attempt(200)
    assert worker.connections > before


async def test_a_deadline_goes_by_the_clock_that_it_is_given(worker: RawWorker) -> None:
    clock = ManualClock()
    dispatcher = HttpDispatcher(clock)
    assert await dispatcher.dispatch(delivery(worker.url, deadline=timedelta(minutes=30))) == Attempt(200)
    assert clock.next_wake is None
    worker.answer = None
    worker.asked.clear()
    call = asyncio.ensure_future(dispatcher.dispatch(delivery(worker.url, deadline=timedelta(minutes=30))))
    await worker.asked.wait()
    clock.advance(timedelta(minutes=30))
    assert (await call).failure is StatusCode.DEADLINE_EXCEEDED
    assert clock.next_wake is None
    await dispatcher.aclose()


async def test_a_dispatch_that_is_cancelled_hangs_up(worker: RawWorker, dispatcher: HttpDispatcher) -> None:
    worker.answer = None
    for clock in (None, ManualClock()):
        one = HttpDispatcher(clock)
        worker.asked.clear()
        call = asyncio.ensure_future(one.dispatch(delivery(worker.url)))
        await worker.asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert one._session is not None
        assert not one._session.connector._acquired  # type: ignore[union-attr]
        await one.aclose()


@pytest.mark.parametrize("changes", [{"url": "http://"}, {"headers": {"X": "a\r\nY: b"}}])
async def test_what_cannot_be_sent_is_told_as_no_answer(
    worker: RawWorker, dispatcher: HttpDispatcher, changes: dict[str, object]
) -> None:
    attempt = await dispatcher.dispatch(
        delivery(worker.url, **changes) if "url" not in changes else delivery("http://")
    )
    assert (attempt.status, attempt.failure) == (None, StatusCode.INVALID_ARGUMENT)
    assert worker.requests == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("17", 17),
        (" 0 ", 0),
        ("9" * 30, 31 * 86_400),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
    ],
)
async def test_retry_after_is_told_where_it_can_be_understood(
    worker: RawWorker, dispatcher: HttpDispatcher, text: str, expected: int | None
) -> None:
    worker.answer = f"HTTP/1.1 503 X\r\nRetry-After: {text}\r\nContent-Length: 0\r\n\r\n".encode()
    attempt = await dispatcher.dispatch(delivery(worker.url))
    assert attempt.retry_after == (None if expected is None else timedelta(seconds=expected))


async def test_retry_after_may_be_a_date(worker: RawWorker, dispatcher: HttpDispatcher) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    worker.answer = f"HTTP/1.1 429 X\r\nRetry-After: {date}\r\nContent-Length: 0\r\n\r\n".encode()
    attempt = await dispatcher.dispatch(delivery(worker.url))
    assert attempt.retry_after is not None
    assert timedelta(minutes=59) < attempt.retry_after <= timedelta(hours=1)


async def test_a_closed_dispatcher_opens_anew(worker: RawWorker, dispatcher: HttpDispatcher) -> None:
    for _ in range(2):
        await dispatcher.dispatch(delivery(worker.url))
        await dispatcher.aclose()
    await dispatcher.aclose()
    assert worker.connections == 2
