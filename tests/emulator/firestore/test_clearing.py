"""Clearing over HTTP at Firestore's own port, as other people's suites do it."""

from __future__ import annotations

import aiohttp
import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator
from tests.fronts import connect

DOCUMENTS = "/emulator/v1/projects/demo/databases/(default)/documents"


async def ask(address: str, method: str, path: str, **kwargs: object) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{address}{path}", **kwargs) as response,  # type: ignore[arg-type]
    ):
        return response.status, await response.text()


async def count(client: AsyncClient) -> int:
    return len(await client.collection("a").get())


@pytest.mark.parametrize(
    "path", [DOCUMENTS, DOCUMENTS.replace("(default)", "%28default%29"), DOCUMENTS + "/"]
)
async def test_a_database_is_cleared_at_the_port_that_clients_use(path: str) -> None:
    async with Emulator().serving() as address, connect(address, "demo") as client:
        async with connect(address, "other") as other:
            await client.document("a/1").set({})
            await other.document("a/1").set({})
            assert await ask(address, "DELETE", path) == (200, "{}")
            assert (await count(client), await count(other)) == (0, 1)
            await client.document("a/2").set({})
            assert await count(client) == 1


async def test_one_connection_may_clear_again_and_again() -> None:
    async with Emulator().serving() as address, connect(address, "demo") as client:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
            for _ in range(3):
                await client.document("a/1").set({})
                async with session.delete(f"http://{address}{DOCUMENTS}") as response:
                    assert response.status == 200
                assert await count(client) == 0


async def test_it_tells_whoever_asks_that_it_is_there() -> None:
    async with Emulator().serving() as address:
        assert await ask(address, "GET", "/") == (200, "Ok\n")


@pytest.mark.parametrize(
    "header", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "same-origin"}], ids=["origin", "fetch"]
)
async def test_a_web_page_clears_nothing(header: dict[str, str]) -> None:
    async with Emulator().serving() as address, connect(address, "demo") as client:
        await client.document("a/1").set({})
        assert (await ask(address, "DELETE", DOCUMENTS, headers=header))[0] == 403
        assert await count(client) == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", DOCUMENTS, 405, "only DELETE is there"),
        ("GET", "/v1/projects/demo/databases/(default)/documents/a/1", 404, "this port speaks gRPC"),
        ("DELETE", "/emulator/v1/projects/demo", 404, "DELETE /emulator/v1/projects/{project}/databases"),
        ("POST", "/counts/reset", 404, "the rest is at the control port"),
        ("DELETE", DOCUMENTS.replace("demo", "%00"), 400, "project"),
    ],
)
async def test_anything_else_is_told_what_is_there(method: str, path: str, status: int, words: str) -> None:
    async with Emulator().serving() as address:
        got, text = await ask(address, method, path)
        assert (got, words in text) == (status, True), text


async def test_who_is_connected_does_not_keep_it_from_stopping() -> None:
    async with aiohttp.ClientSession() as session:
        async with Emulator().serving() as address:
            async with session.get(f"http://{address}/") as response:
                await response.read()
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://{address}/")
