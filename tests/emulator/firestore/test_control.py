"""Orders over HTTP: what they do, what they say to nonsense, and that no web page can give them."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient

from dsset import protos
from dsset.wire import Wire
from emulator.firestore import Emulator, Fault, Latency
from emulator.manual_clock import ManualClock

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "emulator.md"


class Orders:
    """A client of the control port."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def __call__(self, method: str, path: str, json: Any = None, **kwargs: Any) -> tuple[int, Any]:
        """The status, and the answer."""
        if json is not None:
            kwargs["json"] = json
        async with self._session.request(method, f"{self.url}{path}", **kwargs) as response:
            return response.status, await response.json()


@pytest.fixture
async def order(emulator: Emulator) -> AsyncIterator[Orders]:
    async with emulator.controlling() as url, aiohttp.ClientSession() as session:
        yield Orders(session, url)


# What they do ---------------------------------------------------------------------------------------------


async def test_it_tells_that_it_is_there(order: Orders) -> None:
    assert await order("GET", "/healthz") == (200, {"status": "ok"})


async def test_counters_are_told_and_reset(order: Orders, local_client: AsyncClient) -> None:
    await local_client.document("a/1").set({})
    await local_client.document("a/1").get()
    await local_client.document("a/1").delete()
    assert await order("GET", "/counts") == (
        200,
        {"rpcs": {"Commit": 2, "BatchGetDocuments": 1}, "reads": 1, "writes": 1, "deletes": 1},
    )
    assert await order("POST", "/counts/reset") == (200, {})
    assert await order("GET", "/counts") == (200, {"rpcs": {}, "reads": 0, "writes": 0, "deletes": 0})


async def filled(emulator: Emulator) -> list[AsyncClient]:
    names = (("p", "(default)"), ("p", "other"), ("q", "(default)"))
    clients = [emulator.client(*name) for name in names]
    for client in clients:
        await client.document("a/1").set({})
        await client.document("a/1/b/1").set({})
    return clients


async def left(clients: list[AsyncClient]) -> list[int]:
    return [
        len(await client.collection("a").get() + await client.collection_group("b").get())
        for client in clients
    ]


@pytest.mark.parametrize(
    ("method", "path", "remaining"),
    [
        ("POST", "/clear", [0, 0, 0]),
        ("POST", "/clear?project=p", [0, 2, 2]),
        ("POST", "/clear?project=p&database=other", [2, 0, 2]),
        ("POST", "/clear?project=none", [2, 2, 2]),
        ("DELETE", "/emulator/v1/projects/p/databases/(default)/documents", [0, 2, 2]),
        ("DELETE", "/emulator/v1/projects/p/databases/%28default%29/documents", [0, 2, 2]),
        ("DELETE", "/emulator/v1/projects/q/databases/(default)/documents", [2, 2, 0]),
    ],
)
async def test_everything_or_one_database_is_cleared(
    emulator: Emulator, order: Orders, method: str, path: str, remaining: list[int]
) -> None:
    clients = await filled(emulator)
    emulator.faults.add(Fault(rpc="Rollback", error="ABORTED"))
    transactions = [await Wire.of(client).begin(protos.TransactionOptions()) for client in clients]
    assert await order(method, path) == (200, {})
    assert await left(clients) == remaining
    assert bool(list(emulator.faults)) == (path != "/clear")
    for client, transaction, documents in zip(clients, transactions, remaining, strict=True):
        if documents:
            await Wire.of(client).commit([], transaction=transaction)
        else:
            with pytest.raises(exceptions.InvalidArgument):
                await Wire.of(client).commit([], transaction=transaction)


async def test_a_database_that_was_cleared_is_filled_again(emulator: Emulator, order: Orders) -> None:
    client = (await filled(emulator))[0]
    emulator.clear("p")
    await client.document("a/1").create({"n": 1})
    assert [one.get("n") for one in await client.collection("a").order_by("n").get()] == [1]


async def test_faults_are_ordered_told_and_taken_back(
    emulator: Emulator, order: Orders, local_client: AsyncClient
) -> None:
    fault = {"rpc": "Commit", "error": "PERMISSION_DENIED", "path": "a/*", "times": 2, "latency": 0}
    whole = {"when": "before", "probability": 1.0, "after_messages": 0, **fault, "latency": 0.0}
    assert await order("POST", "/faults", fault) == (201, {"id": 1, "remaining": 2, **whole})
    with pytest.raises(exceptions.PermissionDenied):
        await local_client.document("a/1").set({})
    await local_client.document("b/1").set({})
    assert await order("GET", "/faults") == (200, {"faults": [{"id": 1, "remaining": 1, **whole}]})
    assert (await order("POST", "/faults", {"latency": 5, "times": None}))[1]["id"] == 2
    assert await order("DELETE", "/faults/1") == (200, {})
    status, answer = await order("DELETE", "/faults/1")
    assert (status, "there is no fault 1" in answer["error"]) == (404, True)
    assert [one.id for one in emulator.faults] == [2]
    assert await order("DELETE", "/faults") == (200, {})
    assert list(emulator.faults) == []


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({}, Fault()),
        ({"latency": 1.5, "times": None}, Fault(latency=1.5 * SECOND, times=None)),
        (
            {"error": "ABORTED", "when": "late", "latency": 1},
            Fault(error="ABORTED", when="late", latency=SECOND),
        ),
        ({"when": "twice", "rpc": "Commit"}, Fault(when="twice", rpc="Commit")),
        (
            {"error": "ABORTED", "when": "cut", "after_messages": 3, "probability": 0.5},
            Fault(error="ABORTED", when="cut", after_messages=3, probability=0.5),
        ),
        (
            {"latency": {"distribution": "uniform", "low": 1, "high": 2}},
            Fault(latency=Latency.uniform(SECOND, 2 * SECOND)),
        ),
        ({"latency": {"distribution": "exponential", "mean": 1}}, Fault(latency=Latency.exponential(SECOND))),
        (
            {"latency": {"distribution": "lognormal", "median": 1, "sigma": 0.5}},
            Fault(latency=Latency.lognormal(SECOND, 0.5)),
        ),
    ],
)
async def test_a_fault_in_json_is_the_fault_of_these_arguments(
    emulator: Emulator, order: Orders, content: Any, fault: Fault
) -> None:
    status, answer = await order("POST", "/faults", content)
    assert status == 201
    (first,) = emulator.faults
    assert first.fault == fault
    first.remove()
    del answer["id"], answer["remaining"]
    await order("POST", "/faults", answer)  # what it tells is what it takes
    assert [one.fault for one in emulator.faults] == [fault]


async def test_the_orders_in_the_documentation_are_taken(emulator: Emulator, order: Orders) -> None:
    lines = [line for line in DOCUMENTATION.read_text().splitlines() if line.startswith("curl ")]
    assert len(lines) == 5
    async with emulator.serving() as address, aiohttp.ClientSession() as session:
        ports = {"localhost:8081": order.url, "localhost:8080": f"http://{address}"}
        for line in lines:
            _, _, method, url, *body = shlex.split(line)
            port, _, path = url.partition("/")
            async with session.request(
                method, f"{ports[port]}/{path}", data=body[1] if body else None
            ) as response:
                assert response.status in (200, 201), await response.text()


async def test_the_clock_is_told_and_moved(
    emulator: Emulator, order: Orders, local_client: AsyncClient
) -> None:
    assert await order("GET", "/clock") == (
        200,
        {"now": "2030-01-01T00:00:00+00:00", "monotonic": 0.0, "manual": True},
    )
    moved = {"now": "2030-01-01T00:01:01.500000+00:00", "monotonic": 61.5, "manual": True}
    transaction = await Wire.of(local_client).begin(protos.TransactionOptions())
    assert await order("POST", "/clock/advance", {"seconds": 61.5}) == (200, moved)
    assert not emulator._service._transactions._active, "what is due is done"
    assert await order("GET", "/clock") == (200, moved)
    with pytest.raises(exceptions.InvalidArgument):
        await Wire.of(local_client).commit([], transaction=transaction)


async def test_this_machines_clock_is_not_moved() -> None:
    async with Emulator().controlling() as url, aiohttp.ClientSession() as session:
        order = Orders(session, url)
        assert (await order("GET", "/clock"))[1]["manual"] is False
        status, answer = await order("POST", "/clock/advance", {"seconds": 1})
        assert (status, "--manual-clock" in answer["error"]) == (409, True)


# Nonsense -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/faults", "{", 400, "no JSON"),
        ("POST", "/faults", "", 400, "no JSON"),
        ("POST", "/faults", "[" * 100_000, 400, "no JSON"),
        ("POST", "/faults", b"\xff", 400, "no JSON"),
        ("POST", "/faults", "[]", 400, "a fault must be an object"),
        ("POST", "/faults", '{"rcp": "Commit"}', 400, "a fault has no 'rcp'; it has rpc, error"),
        ("POST", "/faults", '{"rpc": "Comit"}', 400, "rpc must be one of"),
        ("POST", "/faults", '{"rpc": []}', 400, "rpc must be one of"),
        ("POST", "/faults", '{"error": {}}', 400, "error must be the name"),
        ("POST", "/faults", '{"when": "cut"}', 400, "needs an error"),
        ("POST", "/faults", '{"times": 0.5}', 400, "times must be"),
        ("POST", "/faults", '{"path": 3}', 400, "path must be"),
        ("POST", "/faults", '{"probability": "high"}', 400, "probability must be"),
        ("POST", "/faults", '{"latency": "1s"}', 400, "latency must be a number of seconds"),
        ("POST", "/faults", '{"latency": -1}', 400, "latency must be a number of seconds"),
        ("POST", "/faults", '{"latency": NaN}', 400, "latency must be a number of seconds"),
        ("POST", "/faults", '{"latency": 1e300}', 400, "of some use"),
        ("POST", "/faults", '{"latency": {}}', 400, "latency must have a distribution"),
        ("POST", "/faults", '{"latency": {"distribution": []}}', 400, "one of uniform, exponential"),
        ("POST", "/faults", '{"latency": {"distribution": "uniform"}}', 400, "has low and high"),
        (
            "POST", "/faults", '{"latency": {"distribution": "lognormal", "median": 1, "sigma": "x"}}', 400,
            "sigma must be",
        ),
        (
            "POST", "/faults", '{"latency": {"distribution": "uniform", "low": 2, "high": 1}}', 400,
            "low must not be more",
        ),
        ("DELETE", "/faults/7", "", 404, "there is no fault 7"),
        ("DELETE", "/faults/x", "", 404, "Not Found: DELETE /faults/x"),
        ("POST", "/clock/advance", "{}", 400, "expected"),
        ("POST", "/clock/advance", "5", 400, "expected"),
        ("POST", "/clock/advance", '{"seconds": -1}', 400, "not negative"),
        ("POST", "/clock/advance", '{"seconds": true}', 400, "seconds must be"),
        ("POST", "/clock/advance", '{"seconds": 1e12}', 400, "ends with the year 9999"),
        ("POST", "/clock/advance", '{"seconds": 1e13}', 400, "ends with the year 9999"),
        ("POST", "/clear?projct=p", "", 400, "unknown parameter 'projct'"),
        ("POST", "/clear?database=d", "", 400, "name its project too"),
        ("POST", "/clear?project=a/b", "", 400, "Invalid database name"),
        ("POST", "/clear?project=", "", 400, "Invalid database name"),
        ("GET", "/clear", "", 405, "Method Not Allowed"),
        ("GET", "/", "", 404, "Not Found"),
        ("POST", "/faults", "x" * 1_000_000, 413, "Too Large"),
    ],
)  # fmt: skip
async def test_nonsense_is_told_and_changes_nothing(
    emulator: Emulator, order: Orders, method: str, path: str, body: Any, status: int, message: str
) -> None:
    await emulator.client().document("a/1").set({})
    got, answer = await order(method, path, data=body)
    assert (got, list(answer)) == (status, ["error"])
    assert message in answer["error"]
    assert (await emulator.client().document("a/1").get()).exists
    assert list(emulator.faults) == []
    assert emulator.clock.monotonic() == 0


# Web pages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8080"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": ""},
        {"Host": "[::1"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Origin": "https://{host}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    "call", [("POST", "/clear"), ("GET", "/counts"), ("OPTIONS", "/clear"), ("GET", "/nothing")]
)
async def test_no_web_page_gives_orders(
    emulator: Emulator, order: Orders, headers: dict[str, str], call: tuple[str, str]
) -> None:
    await emulator.client().document("a/1").set({})
    host = order.url.removeprefix("http://")
    sent = {name: value.format(host=host) for name, value in headers.items()}
    status, answer = await order(*call, headers=sent)
    assert (status, list(answer)) == (403, ["error"])
    assert (await emulator.client().document("a/1").get()).exists


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:1234"},
        {"Host": "LOCALHOST"},
        {"Host": "[::1]:8080"},
        {"Host": "10.0.0.5:8080"},
        {"Origin": "http://{host}", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
async def test_whoever_calls_it_by_its_address_does(order: Orders, headers: dict[str, str]) -> None:
    host = order.url.removeprefix("http://")
    sent = {name: value.format(host=host) for name, value in headers.items()}
    assert await order("POST", "/clear", headers=sent) == (200, {})


async def test_the_name_that_it_is_bound_to_is_its_own(emulator: Emulator) -> None:
    async with emulator.controlling("localhost:0") as url, aiohttp.ClientSession() as session:
        assert url.startswith("http://localhost:")
        assert await Orders(session, url)("POST", "/clear") == (200, {})


async def test_a_port_that_is_taken_is_an_os_error(emulator: Emulator) -> None:
    async with emulator.controlling() as url:
        with pytest.raises(OSError, match="address already in use"):
            async with emulator.controlling(url.removeprefix("http://")):
                pass


def test_a_clock_does_not_move_beyond_its_end() -> None:
    clock = ManualClock()
    with pytest.raises(OverflowError):
        clock.advance(timedelta(days=365 * 8_000))
    assert clock.monotonic() == 0


async def test_a_database_alone_is_not_cleared(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="name its project too"):
        emulator.clear(database="d")
