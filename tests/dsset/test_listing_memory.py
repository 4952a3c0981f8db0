"""What a listing keeps in memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dsset import documents, protos
from dsset.items import Item
from dsset.listed_protos import RunQueryResponse

_VALUE_BYTES = 900_000
_ITEMS = 60


@pytest.mark.skipif(sys.platform != "linux", reason="what a process takes is read as Linux tells it")
def test_a_listed_item_keeps_its_value_once_and_not_the_answer_that_it_came_in() -> None:
    written = documents.create(
        "projects/p/databases/d/documents/a/1/b/2", Item("2", b"v" * _VALUE_BYTES), b"t"
    )
    document = written.message().update
    document.update_time.FromSeconds(1_700_000_000)
    answer = protos.RunQueryResponse(document=document).SerializeToString()
    documents.decode(RunQueryResponse.FromString(answer).document)  # whatever the first one needs
    before = _resident_bytes()
    items = [documents.decode(RunQueryResponse.FromString(answer).document) for _ in range(_ITEMS)]
    taken = _resident_bytes() - before
    assert {len(item.value) for item in items} == {_VALUE_BYTES}
    assert taken < 1.5 * _ITEMS * _VALUE_BYTES


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
