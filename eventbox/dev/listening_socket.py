"""The socket that the app answers on."""

from __future__ import annotations

import socket

_BACKLOG = 2_048


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens, to be handed to other processes; port 0: any free one.

    Raises:
        OSError: the address is taken, or not of this machine; the message says so.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise OSError(f"there is no host {host!r}: {error.strerror}") from error
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listening
