"""Bad arguments are refused with a clear error, before any RPC."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator
from eventbox import EventBox
from eventbox.log import EventLog, EventPersistence, NewLogEntry
from tests.eventbox.log.support import append_and_order


async def handler(*_: Any) -> None:
    raise AssertionError("it must not be called")


LARGEST = b"x" * 900_000

APPENDS: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    (("paid", LARGEST + b"x"), {}, ValueError, "900,001 bytes"),
    (("paid", "text"), {}, TypeError, "payload"),
    (("paid", bytearray()), {}, TypeError, "payload"),
    (("", b""), {}, ValueError, "kind"),
    (("k" * 257, b""), {}, ValueError, "kind"),
    (("é" * 129, b""), {}, ValueError, "258"),
    (("\ud800", b""), {}, ValueError, "UTF-8"),
    ((b"paid", b""), {}, TypeError, "kind"),
    ((None, b""), {}, TypeError, "kind"),
    (("paid", b""), {"module": "ledger"}, TypeError, "module"),
    (("paid", b""), {"module": ("ledger",)}, TypeError, "module"),
    (("paid", b""), {"module": ("ledger", None)}, TypeError, "module"),
    (("paid", b""), {"module": ("ledger", True)}, TypeError, "module"),
    (("paid", b""), {"module": ("ledger", -1)}, ValueError, "module"),
    (("paid", b""), {"module": ("ledger", 2**63)}, ValueError, "module"),
    (("paid", b""), {"module": ("", 1)}, ValueError, "module"),
    (("paid", b""), {"module": (7, 1)}, TypeError, "module"),
    (("paid", b""), {"persistence": "persistent"}, TypeError, "EventPersistence"),
    (("paid", b""), {"id": ""}, ValueError, "ID"),
    (("paid", b""), {"id": "x" * 257}, ValueError, "ID"),
    (("paid", b""), {"id": 7}, TypeError, "ID"),
    (("paid", b""), {"id": "x", "persistence": EventPersistence.TRANSIENT}, ValueError, "transient"),
    (("paid", b""), {"transaction": "transaction"}, TypeError, "transaction"),
]


@pytest.mark.parametrize(("args", "kwargs", "error", "message"), APPENDS)
async def test_a_bad_entry_is_refused(
    local_log: EventLog,
    emulator: Emulator,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        await local_log.append(*args, **kwargs)
    assert sum(emulator.counts.rpcs.values()) == 0


async def test_the_largest_entry_is_not_refused(local_log: EventLog) -> None:
    await local_log.append("k" * 256, LARGEST, module=("m" * 256, 2**63 - 1), id="x" * 256)
    assert await local_log.order() == 1
    assert (await local_log.read())[0].payload == LARGEST


async def test_one_bad_entry_of_many_keeps_all_out(local_log: EventLog, emulator: Emulator) -> None:
    with pytest.raises(TypeError, match="NewLogEntry"):
        await local_log.append_many([NewLogEntry("a", b""), "b"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="kind"):
        await local_log.append_many([NewLogEntry("a", b""), NewLogEntry("", b"")])
    assert sum(emulator.counts.rpcs.values()) == 0


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((-1,), ValueError), ((2**63,), ValueError), (("0",), TypeError), ((True,), TypeError), ((0.0,), TypeError),
        ((0, 0), ValueError), ((0, -1), ValueError), ((0, None), TypeError),
    ],
)  # fmt: skip
async def test_a_bad_position_or_limit_is_refused(
    local_log: EventLog, emulator: Emulator, args: tuple[Any, ...], error: type[Exception]
) -> None:
    for read in (local_log.read, local_log.read_trimable):
        with pytest.raises(error):
            await read(*args)
    if len(args) == 1:
        with pytest.raises(error):
            await local_log.move_cursor("f", args[0])
        with pytest.raises(error):
            await local_log.handle_events("f", handler, start=args[0])
    assert sum(emulator.counts.rpcs.values()) == 0


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", ValueError), ("a/b", ValueError), (".", ValueError), ("..", ValueError), ("__a__", ValueError),
        ("a\nb", ValueError), ("\x00", ValueError), (" a", ValueError), ("a ", ValueError), ("\ud800", ValueError),
        ("x" * 257, ValueError), ("é" * 129, ValueError), (b"a", TypeError), (None, TypeError), (7, TypeError),
    ],
)  # fmt: skip
async def test_a_bad_name_of_a_follower_is_refused(
    local_log: EventLog, emulator: Emulator, name: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="name of a follower"):
        await local_log.handle_events(name, handler)
    with pytest.raises(error, match="name of a follower"):
        await local_log.handle_trimable_events(name, handler, until_idle=True)
    with pytest.raises(error, match="name of a follower"):
        await local_log.cursor(name)
    with pytest.raises(error, match="name of a follower"):
        await local_log.move_cursor(name, 0)
    assert sum(emulator.counts.rpcs.values()) == 0


@pytest.mark.parametrize("name", ["a", "é" * 128, "order mails", "__a", "v1.2", "x" * 256, "日本"])
async def test_any_other_name_will_do(log: EventLog, name: str) -> None:
    await log.move_cursor(name, 5)
    assert await log.cursor(name) == 5
    assert [follower.follower for follower in (await log.overview()).followers] == [name]


@pytest.mark.parametrize("batch", [0, -1, 10_001])
async def test_a_bad_batch_is_refused(local_log: EventLog, emulator: Emulator, batch: int) -> None:
    with pytest.raises(ValueError, match="batch"):
        await local_log.handle_events("f", handler, batch=batch)
    with pytest.raises(TypeError, match="handler"):
        await local_log.handle_events("f", None)  # type: ignore[arg-type]
    assert sum(emulator.counts.rpcs.values()) == 0


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"min_id_age": -1}, ValueError), ({"min_id_age": 1.0}, TypeError), ({"min_age": 5}, TypeError),
        ({"min_age": timedelta(-1)}, ValueError), ({"max_entries": 0}, ValueError), ({"max_entries": "1"}, TypeError),
    ],
)  # fmt: skip
async def test_bad_bounds_of_trimming_are_refused(
    local_log: EventLog, emulator: Emulator, kwargs: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=next(iter(kwargs))):
        await local_log.trim(**kwargs)
    assert sum(emulator.counts.rpcs.values()) == 0


async def test_a_handler_that_is_no_asynchronous_function_is_told_at_its_first_call(
    local_log: EventLog,
) -> None:
    await append_and_order(local_log, "a")
    with pytest.raises(TypeError, match=r"'f' on logs/main .* must be an asynchronous function"):
        await local_log.handle_events("f", lambda *_: None)  # type: ignore[arg-type, return-value]
    assert await local_log.cursor("f") is None


async def test_bounds_beyond_all_numbers_are_no_bounds(local_log: EventLog) -> None:
    await append_and_order(local_log, "a", "b")
    assert await local_log.trim(min_id_age=0, min_age=timedelta.max) == 0
    assert len(await local_log.read(0, 10**400, max_bytes=10**400)) == 2
    assert await local_log.trim(min_id_age=0, min_age=timedelta(0), max_entries=10**400) == 2


async def test_other_bad_arguments_are_refused(
    local_log: EventLog, local_box: EventBox, local_client: AsyncClient, emulator: Emulator
) -> None:
    with pytest.raises(ValueError, match="interval"):
        await local_log.run_ordering(interval=timedelta(-1))
    with pytest.raises(TypeError, match="interval"):
        await local_log.run_ordering(interval=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="capacity"):
        local_log.transient(capacity=0)
    with pytest.raises(TypeError, match="EventBox"):
        EventLog(local_client, local_client.document("logs/main"))
    with pytest.raises(TypeError, match="document"):
        EventLog(local_box, "logs/main")
    with pytest.raises(ValueError, match="database"):
        EventLog(local_box, emulator.client("other").document("logs/main"))
    with pytest.raises(TypeError, match="sender"):
        EventLog(local_box, local_client.document("logs/main"), sender="queue")  # type: ignore[arg-type]
    assert sum(emulator.counts.rpcs.values()) == 0
