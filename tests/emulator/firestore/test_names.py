"""Names of documents: those that are plain are let through at a glance, and no others than all rules let through."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import example, given

from emulator.firestore.names import _check_document, check_document
from emulator.status import Status

DATABASE = "projects/p/databases/d"

IDS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=3),
    st.sampled_from(
        [
            "",
            ".",
            "..",
            "._",
            "_",
            "__",
            "____",
            "__x__",
            "__id7__",
            "_x",
            "\n",
            "a" * 375,
            "\U0001f600" * 376,
        ]
    ),
)
NAMES = st.one_of(
    st.lists(IDS, max_size=6).map(lambda ids: "/".join([f"{DATABASE}/documents", *ids])),
    st.integers(190, 210).map(lambda depth: f"{DATABASE}/documents" + "/x" * depth),
    st.sampled_from(
        [f"{DATABASE}/documentsx/a/b", f"{DATABASE}/a/b", "projects/p/databases/e/documents/a/b", ""]
    ),
)


def outcome(name: str, *, at_a_glance: bool) -> str:
    try:
        return (check_document if at_a_glance else _check_document)(name, DATABASE)
    except Status as status:
        return f"{status.code} {status.message}"


@given(NAMES)
@example(f"{DATABASE}/documents" + f"/{'a' * 375}" * 4)
@example(f"{DATABASE}/documents" + f"/{'é' * 376}" * 4)
@example(f"{DATABASE}/documents" + f"/{'é' * 751}" * 2)
def test_a_name_that_is_plain_is_none_that_the_rules_refuse(name: str) -> None:
    assert outcome(name, at_a_glance=True) == outcome(name, at_a_glance=False)
