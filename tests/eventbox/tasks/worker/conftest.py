from __future__ import annotations

import logging

import pytest

from tests.eventbox.tasks.worker.house import House


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="eventbox.tasks")
    return caplog
