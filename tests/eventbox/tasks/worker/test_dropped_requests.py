"""The table of outcomes, its last rows: what is dropped, and what is no request of ours."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from eventbox import Recipient
from eventbox.tasks import DropTask, TaskRequest, WakeUp
from tests.eventbox.support import Recording
from tests.eventbox.tasks.worker.expecting import expect
from tests.eventbox.tasks.worker.house import WAKE, House, logged
from tests.eventbox.tasks.worker.requesting import call


@pytest.mark.parametrize(
    "name",
    [
        "projects/test/databases/(default)/documents/users/1",
        "projects/test/databases/(default)/documents/orders",
        "projects/test/databases/(default)/documents/orders/1/items/2",
        "projects/test/databases/(default)/documents/orders/",
        "projects/test/databases/(default)/documents/orders/..",
        "projects/test/databases/(default)/documents/orders/__1__",
        "projects/elsewhere/databases/(default)/documents/orders/1",
        "projects/test/databases/other/documents/orders/1",
        "orders/1",
        "x",
    ],
)
async def test_dropped_for_an_unknown_recipient(
    house: House, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    name = name.replace("projects/test", f"projects/{house.box.client.project}")

    answered = await call(house.worker.app, WAKE, WakeUp(name, 0).encode())

    assert (answered.status, answered.outcome) == (200, "dropped")
    assert not house.runs
    expect(house, caplog, "dropped", logging.ERROR)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b'{"recipient": 1, "second": 2}',
        b"\xff",
        b"[" * 10_000,
        b"x" * 1_000_000,
        b'{"recipient": "a", "second": 1e400}',
        b'{"recipient": "\\ud800", "second": 1}',
    ],
    ids=lambda body: body[:20],
)
async def test_dropped_where_it_cannot_be_decoded(
    house: House, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    answered = await call(house.worker.app, WAKE, [body[:3], body[3:]])

    assert (answered.status, answered.outcome) == (200, "dropped")
    expect(house, caplog, "dropped", logging.ERROR)


@pytest.mark.parametrize("ahead", [timedelta(days=32), timedelta(days=365_000)])
async def test_dropped_where_no_wake_up_can_be_so_far_ahead(
    house: House, caplog: pytest.LogCaptureFixture, ahead: timedelta
) -> None:
    second = int((house.clock.now() + ahead).timestamp())

    answered = await call(house.worker.app, WAKE, WakeUp(house.order().ref._document_path, second).encode())

    assert (answered.status, answered.outcome) == (200, "dropped")
    assert not house.runs
    assert not await house.tasks()
    expect(house, caplog, "dropped", logging.ERROR)


async def test_dropped_by_a_handler(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(task: TaskRequest) -> None:
        raise DropTask("nobody there")

    house.worker.task("/emails", handler)

    answered = await call(house.worker.app, "/emails")

    assert (answered.status, answered.outcome) == (200, "dropped")
    assert "nobody there" in caplog.text
    expect(house, caplog, "dropped", logging.ERROR, kind="task")
    assert [*house.counted()] == [("task", "dropped", "/emails")]


async def test_the_longest_name_of_a_document_is_decoded(house: House) -> None:
    # 6 KiB, of characters that take six bytes each in JSON
    pattern = "/".join(f"{{p{n}}}" if n % 2 else f"c{n}" for n in range(8))
    house.worker.recipient(pattern, lambda recipient, _: Recording(recipient), monitoring_string="deep")
    deep = "/".join("\x01" * 1_480 if n % 2 else f"c{n}" for n in range(8))
    recipient = Recipient(house.box.client.document(deep), "deep")

    assert (await house.wake(recipient)).outcome == "done"


@pytest.mark.parametrize("path", ["/", "/eventbox", "/eventbox/", "/eventbox/wake/", "/emails"])
async def test_unknown_path(house: House, caplog: pytest.LogCaptureFixture, path: str) -> None:
    answered = await call(house.worker.app, path)

    assert (answered.status, answered.outcome) == (404, "unknown_path")
    expect(house, caplog, "unknown_path", logging.WARNING, kind="other")


@pytest.mark.parametrize("path", [WAKE, "/eventbox/sweep", "/emails"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_wrong_method(house: House, caplog: pytest.LogCaptureFixture, path: str, method: str) -> None:
    async def handler(task: TaskRequest) -> None:
        raise AssertionError

    house.worker.task("/emails", handler)

    answered = await call(house.worker.app, path, method=method)

    assert (answered.status, answered.outcome) == (405, "wrong_method")
    assert answered.headers["allow"] == "POST"
    assert logged(caplog) == [("wrong_method", logging.WARNING)]
