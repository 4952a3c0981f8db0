"""What a wake-up is for, what it is named, and what it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from eventbox.tasks import WakeUp
from eventbox.tasks.wakeups import MARGIN, second_after

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
ORDER = "projects/p/databases/(default)/documents/orders/1"


def at(second: int) -> datetime:
    return EPOCH + timedelta(seconds=second)


@given(MOMENTS, st.none() | MOMENTS)
def test_a_wake_up_is_at_most_11_tenths_of_a_second_after_its_commit_and_eta_and_never_before(
    commit: datetime, eta: datetime | None
) -> None:
    second = at(second_after(commit, eta))
    late = max(commit, eta or commit)
    assert late + MARGIN < second <= late + MARGIN + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0, 1), (0.5, 1), (0.899999, 1), (0.9, 2), (0.95, 2), (0.999999, 2)]
)
def test_the_second_is_the_whole_one_after_a_tenth(fraction: float, expected: int) -> None:
    base = datetime(2030, 1, 1, tzinfo=UTC)
    assert at(second_after(base + timedelta(seconds=fraction))) == base + timedelta(seconds=expected)


def test_the_name_is_the_same_for_the_same_recipient_and_second_alone() -> None:
    name = WakeUp(ORDER, 5).name
    assert name == WakeUp(ORDER, 5, idle=7).name
    assert name not in (WakeUp(ORDER, 6).name, WakeUp(ORDER + "0", 5).name)
    assert re.fullmatch(r"[0-9a-f]{40}", name)


def test_a_fresh_one_does_not_share_its_name_with_one_that_may_be_late_again() -> None:
    assert WakeUp(ORDER, 5, fresh=True).name != WakeUp(ORDER, 5).name
    assert WakeUp(ORDER, 5, fresh=True).name == WakeUp(ORDER, 5, fresh=True, idle=1).name


def test_names_of_following_seconds_begin_differently() -> None:
    assert len({WakeUp(ORDER, second).name[0] for second in range(200)}) == 16


@given(st.text(min_size=1, max_size=200), st.integers(0, 2**35), st.booleans(), st.integers(0, 1000))
def test_what_is_encoded_is_decoded(recipient: str, second: int, fresh: bool, idle: int) -> None:
    try:
        recipient.encode()
    except UnicodeEncodeError:
        return
    wake_up = WakeUp(recipient, second, fresh, idle)
    assert WakeUp.decode(wake_up.encode()) == wake_up
    assert wake_up.at == at(second)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff", b"1", b"[]", b"{}", b"null", b"[" * 10_000, b'{"recipient": "x"}',
        b'{"recipient": "", "second": 1}', b'{"recipient": 1, "second": 1}', b'{"recipient": "x", "second": true}',
        b'{"recipient": "x", "second": 1.5}', b'{"recipient": "x", "second": -1}',
        b'{"recipient": "x", "second": 999999999999999}', b'{"recipient": "x", "second": 1, "fresh": 1}',
        b'{"recipient": "x", "second": 1, "idle": null}', b'{"recipient": "x", "second": 1, "idle": -1}',
        b'{"recipient": "\\ud800", "second": 1}', b'{"recipient": "x", "second": NaN}',
        b'{"recipient": "' + b"x" * 70_000 + b'", "second": 1}',
    ],
)  # fmt: skip
def test_what_is_no_wake_up_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        WakeUp.decode(body)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_worse(body: bytes) -> None:
    try:
        WakeUp.decode(body)
    except ValueError:
        return
