"""The processes of `eventbox dev` and of the demo, which are killed there."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import pytest

from eventbox.dev.server_process import ServerProcess


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL to send")
async def test_killed_again_while_it_is_dying_it_still_tells_that_it_was_killed() -> None:
    process = ServerProcess("this", {}, {}, piped=True)
    await process.start()
    assert process._process is not None
    process.kill()
    with suppress(ChildProcessError):  # whoever waits for it may have been faster
        # it is dead then, and the event loop has not been told
        os.waitid(os.P_PID, process._process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
    process.kill()
    assert await process.ended() == -signal.SIGKILL
    await process.stop()
