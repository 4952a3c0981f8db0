"""Where the server listens, and what it makes of connections' first bytes."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from emulator.http2 import PREFACE
from emulator.listening import FirstBytes, listen
from tests.emulator.until import until

SETTINGS = bytes(3) + b"\4" + bytes(5)
LOOPBACK = (socket.AF_INET, ("127.0.0.1", 0))
LOOPBACK_6 = (socket.AF_INET6, ("::1", 0))


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class Heard(asyncio.Protocol):
    """Says its name, and keeps what it hears."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.data = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.name)

    def data_received(self, data: bytes) -> None:
        self.data += data


class Server:
    """What has come to it."""

    def __init__(self, *, http: bool = True) -> None:
        self.heard: list[Heard] = []
        self.silent: set[FirstBytes] = set()
        self._http = http

    def _made(self, name: bytes) -> Heard:
        self.heard.append(Heard(name))
        return self.heard[-1]

    def first_bytes(self) -> FirstBytes:
        http = (lambda: self._made(b"http")) if self._http else None
        return FirstBytes(lambda: self._made(b"http2"), http, self.silent)

    @asynccontextmanager
    async def listening(self, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
        async with listen(address, self.first_bytes) as bound:
            yield bound
        for heard in self.heard:
            heard.transport.close()
        for one in list(self.silent):
            one.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def say(address: str, *parts: bytes) -> bytes:
    """What is answered to these bytes, sent one after the other; b"" where it is hung up."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0)
        return await reader.read(100)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:0", "0.0.0.0:0", "localhost:0", "[::]:0", ":0", pytest.param("[::1]:0", marks=pytest.mark.skipif(
        not has_ipv6(), reason="there is no IPv6"))],
)  # fmt: skip
async def test_it_listens_where_it_is_told_to(address: str) -> None:
    server = Server()
    async with server.listening(address) as bound:
        host, _, port = bound.rpartition(":")
        assert host == address.rpartition(":")[0]
        assert int(port) > 0
        target = {"0.0.0.0": "127.0.0.1", "[::]": "127.0.0.1", "": "127.0.0.1"}.get(host, host)
        assert await say(f"{target}:{port}", PREFACE + SETTINGS) == b"http2"


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6")
async def test_a_name_is_listened_to_at_all_its_addresses_on_one_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_to(monkeypatch, LOOPBACK, LOOPBACK_6, LOOPBACK)
    server = Server()
    async with server.listening("localhost:0") as bound:
        port = bound.rpartition(":")[2]
        for host in ("127.0.0.1", "[::1]"):
            assert await say(f"{host}:{port}", PREFACE + SETTINGS) == b"http2"


@pytest.mark.parametrize("first", [True, False])
async def test_an_address_that_the_machine_has_not_does_not_keep_it_from_the_others(
    monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    absent = (socket.AF_INET, ("203.0.113.1", 0))  # of those for documentation (RFC 5737)
    resolve_to(monkeypatch, *((absent, LOOPBACK) if first else (LOOPBACK, absent)))
    server = Server()
    async with server.listening("localhost:0") as bound:
        assert await say(bound.replace("localhost", "127.0.0.1"), PREFACE + SETTINGS) == b"http2"


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: Any) -> None:
    resolve = asyncio.get_running_loop().getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **rest: Any) -> Any:
        if host != "localhost":
            return await resolve(host, port, **rest)
        return [(family, socket.SOCK_STREAM, 6, "", (*where[:1], port)) for family, where in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    "address", ["203.0.113.1:0", "127.0.0.1:66000", "127.0.0.1:x", "nowhere.invalid:0", "127.0.0.1", "a..b:0"]
)
async def test_an_address_that_is_none_is_an_os_error_that_names_it(address: str) -> None:
    with pytest.raises(OSError, match=f"cannot bind {address}: it is in use, or not of this machine"):
        async with listen(address, Server().first_bytes):
            pass


async def test_a_port_in_use_is_an_os_error_and_another_listener_goes_on() -> None:
    server = Server()
    async with server.listening() as bound:
        with pytest.raises(OSError, match=f"cannot bind {bound}"):
            async with listen(bound, server.first_bytes):
                pass
        assert await say(bound, PREFACE + SETTINGS) == b"http2"


async def test_a_port_is_free_again_at_once() -> None:
    server = Server()
    async with server.listening() as bound:
        assert await say(bound, PREFACE + SETTINGS) == b"http2"
    async with server.listening(bound):
        assert await say(bound, PREFACE + SETTINGS) == b"http2"


async def test_a_crowd_may_wait_to_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    backlogs: list[int] = []
    create_server = asyncio.get_running_loop().create_server

    async def noting(*arguments: Any, backlog: int = 100, **rest: Any) -> Any:
        backlogs.append(backlog)
        return await create_server(*arguments, backlog=backlog, **rest)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", noting)
    async with Server().listening():
        assert backlogs == [1_024]


# First bytes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (PREFACE + SETTINGS, b"http2"),
        (b"GET / HTTP/1.1\r\n", b"http"),
        (b"DELETE /", b"http"),
        (b"POST ", b"http"),
        (b"PUT ", b"http"),
        (b"PATCH ", b"http"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b""),
        (b"PRI * HTTP/1.1\r\n", b""),
        (b"get / HTTP/1.1\r\n", b""),
        (PREFACE + bytes(3) + b"\0" + bytes(5), b""),
        (b"\0", b""),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_first_bytes_decide_who_answers_however_they_come(
    data: bytes, answer: bytes, bytewise: bool
) -> None:
    server = Server()
    async with server.listening() as bound:
        parts = [data[at : at + 1] for at in range(len(data))] if bytewise else [data]
        assert await say(bound, *parts) == answer
        await until(lambda: not server.heard or server.heard[0].data == data)
        assert len(server.heard) == (1 if answer else 0)


async def test_without_http_its_requests_are_hung_up_on() -> None:
    async with Server(http=False).listening() as bound:
        assert await say(bound, b"GET / HTTP/1.1\r\n") == b""


async def test_what_is_sent_in_parts_waits_for_no_acknowledgement() -> None:
    server = Server()
    async with server.listening() as bound:
        await say(bound, PREFACE + SETTINGS)
        accepted = server.heard[0].transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_silent_connections_do_no_harm_and_end_with_the_server() -> None:
    server = Server()
    async with server.listening() as bound:
        host, _, port = bound.rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(100)]
        left = [await asyncio.open_connection(host, int(port)) for _ in range(10)]
        left[0][1].write(PREFACE[:10])
        assert await say(bound, PREFACE + SETTINGS) == b"http2"
        for _, writer in left:
            writer.close()
        await until(lambda: len(server.silent) == 100)
    for reader, writer in silent:
        assert await reader.read() == b""
        writer.close()
    assert not server.silent


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loopback has one address")
async def test_a_port_that_is_free_at_one_address_alone_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    second = (socket.AF_INET, ("127.0.0.2", 0))
    resolve_to(monkeypatch, LOOPBACK, second)
    create_server = socket.create_server
    others: list[socket.socket] = []

    def taking(where: Any, **rest: Any) -> socket.socket:
        made = create_server(where, **rest)
        if where[0] == LOOPBACK[1][0] and len(others) < 3:
            others.append(create_server(("127.0.0.2", made.getsockname()[1])))
        return made

    monkeypatch.setattr(socket, "create_server", taking)
    server = Server()
    try:
        async with server.listening("localhost:0") as bound:
            port = bound.rpartition(":")[2]
            assert port not in {str(one.getsockname()[1]) for one in others}
            for host in ("127.0.0.1", "127.0.0.2"):
                assert await say(f"{host}:{port}", PREFACE + SETTINGS) == b"http2"
    finally:
        for one in others:
            one.close()
    assert len(others) == 3
