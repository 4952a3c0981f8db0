"""HTTP/2 (RFC 9113) on a listening asyncio server, as far as gRPC needs it.

What a stream has to send is collected until the event loop's next turn, and goes out in as few frames and writes as the
peer's windows let it. That is what this is for: gRPC for Python makes several system calls and two switches of threads
for each message of a stream. (h2 was tried under it, and takes three times as long for a call of one message.)
"""

from emulator.http2.connection import Accept, Connection
from emulator.http2.frames import PREFACE
from emulator.http2.header_blocks import encode
from emulator.http2.stream import Receiver, Stream

__all__ = ["PREFACE", "Accept", "Connection", "Receiver", "Stream", "encode"]
