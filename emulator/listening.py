"""Listening on an address, and telling by their first bytes which protocol connections speak."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any

from emulator.http2 import PREFACE

HttpProtocol = Callable[[], asyncio.Protocol]
"""Makes the protocol of a connection that speaks HTTP/1.1."""

_SETTINGS = 4
_KIND_AT = len(PREFACE) + 4
"""The frame behind the preface has to be one of settings (RFC 9113, 3.4); so many bytes tell."""

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ")

_WILDCARDS = ("::", "*", "")

_BACKLOG = 1_024
"""Connections that wait to be taken."""

_TRIES = 8
"""Free ports that are tried until one is free at each address."""

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What an address of IPv6 is where there is none; "localhost" may have one all the same, as in many containers."""

Address = tuple[socket.AddressFamily, Any]


@asynccontextmanager
async def listen(address: str, protocol: Callable[[], asyncio.Protocol]) -> AsyncIterator[str]:
    """Listen on an address such as "127.0.0.1:0" (0: any free port); gives the one it is bound to.

    A name is listened to at each of its addresses, and "[::]" at those of IPv4 too.

    Raises:
        OSError: the address cannot be bound.
    """
    loop = asyncio.get_running_loop()
    host, _, port = address.rpartition(":")
    async with AsyncExitStack() as stack:
        try:
            sockets = _bind(await _addresses(host.strip("[]"), int(port)), any_port=int(port) == 0)
            for listening in sockets:
                stack.callback(listening.close)
            for listening in sockets:
                server = await loop.create_server(protocol, sock=listening, backlog=_BACKLOG)
                stack.callback(server.close)
        except (OSError, OverflowError, ValueError) as error:
            raise OSError(
                f"cannot bind {address}: it is in use, or not of this machine; choose another"
            ) from error
        yield f"{host}:{sockets[0].getsockname()[1]}"


def _bind(addresses: list[Address], *, any_port: bool) -> list[socket.socket]:
    """Sockets at those of these addresses that the machine has, each on the first one's port."""
    for _ in range(_TRIES if any_port else 1):
        try:
            return _bind_once(addresses)
        except OSError as error:
            failure = error
            if error.errno != errno.EADDRINUSE:  # what is free at one address may be in use at another
                break
    raise failure


def _bind_once(addresses: list[Address]) -> list[socket.socket]:
    bound = 0
    absent: OSError | None = None
    with ExitStack() as stack:
        sockets = []
        for family, where in addresses:
            dual = where[0] in _WILDCARDS and family == socket.AF_INET6
            try:
                listening = socket.create_server(
                    (where[0], bound or where[1]), family=family, dualstack_ipv6=dual
                )
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                absent = error
            else:
                bound = listening.getsockname()[1]
                sockets.append(stack.enter_context(listening))
        if not sockets and absent is not None:
            raise absent
        stack.pop_all()
        return sockets


async def _addresses(host: str, port: int) -> list[Address]:
    if not 0 <= port < 2**16:  # getaddrinfo takes what is left of it by 65,536
        raise ValueError(f"{port} is no port")
    if host in _WILDCARDS:
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        return [(family, ("::" if family == socket.AF_INET6 else "0.0.0.0", port))]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, where) for family, _, _, _, where in found))


class FirstBytes(asyncio.Protocol):
    """Listens to a connection's first bytes, and hands it on to whoever speaks its protocol.

    Args:
        http2: makes a connection of HTTP/2.
        http: makes one of HTTP/1.1; None: it is hung up on.
        silent: where it is until it is handed on.
    """

    def __init__(
        self, http2: Callable[[], asyncio.Protocol], http: HttpProtocol | None, silent: set[FirstBytes]
    ) -> None:
        self._http2 = http2
        self._http = http
        self._silent = silent
        self._transport: Any = None
        self._heard = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._silent.add(self)
        # asyncio does so itself for sockets that say that they are TCP's; those of socket.create_server do not say it.
        # Without it, what is sent in two parts waits for an acknowledgement that its receiver may put off for 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._heard = heard = self._heard + data
        if heard.startswith(PREFACE):
            if len(heard) >= _KIND_AT:
                kind = heard[_KIND_AT - 1]
                self._hand_on(self._http2) if kind == _SETTINGS else self._transport.close()
        elif self._http is not None and heard.startswith(_METHODS):
            self._hand_on(self._http)
        elif not any(start.startswith(heard) for start in (PREFACE, *_METHODS)):
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._silent.discard(self)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def _hand_on(self, make: Callable[[], asyncio.Protocol]) -> None:
        self._silent.discard(self)
        protocol = make()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._heard)
