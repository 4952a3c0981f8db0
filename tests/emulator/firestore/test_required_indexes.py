"""Which indexes a query needs: a row a query, with its definitions, and what the error asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.base_query import And, FieldFilter, Or

from emulator.firestore import Emulator
from tests.emulator.firestore.index_entries import DOWN, as_file, asked, index, override, to_add
from tests.fronts import connect


def wheres(*filters: Any) -> Any:
    return [FieldFilter(*one) if isinstance(one, tuple) else one for one in filters]


def q(
    *filters: Any, order: str = "", group: bool = False, last: bool = False
) -> Callable[[AsyncClient], Any]:
    """A query: q(("a", "==", 1), order="b desc")."""

    def build(client: AsyncClient) -> Any:
        query: Any = client.collection_group("c") if group else client.collection("c")
        for one in wheres(*filters):
            if getattr(one, "field_path", None) == "__name__":
                ids = one.value if isinstance(one.value, list) else [one.value]
                names = [client.document(f"c/{id}") for id in ids]
                one = FieldFilter("__name__", one.op_string, names if one.op_string == "in" else names[0])
            query = query.where(filter=one)
        for part in filter(None, order.split(", ")):
            path, _, direction = part.partition(" ")
            query = query.order_by(path, direction=DOWN if direction else "ASCENDING")
        return query.limit_to_last(2) if last else query

    return build


def either(*filters: Any) -> Any:
    return Or(wheres(*filters))


def both(*filters: Any) -> Any:
    return And(wheres(*filters))


A, B, C, TAG = ("a", "==", 1), ("b", "==", 1), ("c", "==", 1), ("tags", "array_contains", 1)
TAGS = ("tags", "array_contains_any", [1, 2])
MORE_A, MORE_B = ("a", ">", 1), ("b", ">", 1)
NONE_OF_ALL = override("*")

SERVED: list[Any] = [
    # what each field has by itself
    ("everything", q(), []),
    ("by name", q(order="__name__"), []),
    ("everything, without any index", q(), [NONE_OF_ALL]),
    ("one equality", q(A), []),
    ("a subfield", q(("m.x", "==", 1)), []),
    ("a null", q(("a", "==", None)), []),
    ("in", q(("a", "in", [1, 2])), []),
    ("an array's element", q(TAG), []),
    ("an array's elements", q(TAGS), []),
    ("a range", q(MORE_A), []),
    ("a range with its order", q(MORE_A, order="a desc"), []),
    ("two ends of a range", q(MORE_A, ("a", "<", 5)), []),
    ("not equal", q(("a", "!=", 1)), []),
    ("not in", q(("a", "not-in", [1, 2])), []),
    ("an order", q(order="a"), []),
    ("a descending order", q(order="a desc"), []),
    ("an order with the name in its direction", q(order="a desc, __name__ desc"), []),
    ("the last of an order", q(order="a", last=True), []),
    ("an equality, from the last name", q(A, order="__name__ desc"), []),
    # merging what fields have by themselves
    ("equalities", q(A, B, C), []),
    ("equalities and in", q(A, ("b", "in", [1, 2])), []),
    ("an equality and an array", q(A, TAG), []),
    ("equalities, from the last name", q(A, B, order="__name__ desc"), []),
    ("an order by what is known", q(A, B, order="a"), []),
    ("a range of what is known", q(A, MORE_A), []),
    ("choices of equalities", q(either(A, both(B, C))), []),
    ("an index of one of them only", q(A, B), [override("a"), index("a, b")]),
    # the name needs none
    ("a name", q(("__name__", "==", "x")), [NONE_OF_ALL]),
    ("names", q(("__name__", "in", ["x", "y"])), [NONE_OF_ALL]),
    ("a range of names", q(("__name__", ">", "x")), [NONE_OF_ALL]),
    ("an equality and a range of names", q(A, ("__name__", ">", "x")), []),
    # composite indexes
    ("an equality and an order", q(A, order="b"), [index("a, b")]),
    ("an equality's direction does not matter", q(A, order="b"), [index("a desc, b")]),
    ("an equality and a range", q(A, MORE_B), [index("a, b")]),
    ("in and a range", q(("a", "in", [1, 2]), MORE_B), [index("a, b")]),
    ("equalities in any sequence", q(A, B, order="x desc"), [index("b, a, x desc")]),
    ("an array and an order", q(TAG, order="a desc"), [index("tags array, a desc")]),
    ("an array behind an equality", q(TAGS, A, order="b"), [index("a, tags array, b")]),
    ("two orders", q(order="a, b desc"), [index("a, b desc")]),
    ("the other direction of the name", q(order="a, __name__ desc"), [index("a, __name__ desc")]),
    ("names backwards", q(order="__name__ desc"), [index("__name__ desc")]),
    ("an index whose name is written out", q(A, order="b desc"), [index("a, b desc, __name__ desc")]),
    ("two ranges in an order", q(MORE_A, MORE_B, order="b, a"), [index("b, a")]),
    ("two ranges without an order", q(MORE_A, MORE_B), [index("b, a")]),
    ("an equality and two ranges", q(C, MORE_A, MORE_B), [index("c, b, a")]),
    ("an order, then a range", q(MORE_A, order="b desc"), [index("b desc, a desc")]),
    # merging composite indexes
    ("as in the documentation", q(A, B, C, order="x"), [index("a, x"), index("b, x"), index("c, x")]),
    ("of unlike width", q(A, B, C, order="x"), [index("a, b, x"), index("c, x")]),
    ("that overlap", q(A, B, C, order="x"), [index("a, b, x"), index("b, c, x")]),
    ("with an array", q(A, TAG, order="x"), [index("a, x"), index("tags array, x")]),
    ("with a range", q(A, B, ("x", ">", 1)), [index("a, x"), index("b, x")]),
    ("a composite and a field's own", q(A, B, C), [override("a"), override("b"), index("a, b")]),
    # each choice by itself
    ("choices with an order", q(either(A, B), order="x"), [index("a, x"), index("b, x")]),
    ("one choice has a range, so all are ordered", q(either(A, MORE_B)), [index("a, b")]),
    # collection groups
    ("a whole group", q(group=True), []),
    ("a group's field", q(A, group=True), [override("a", "asc group")]),
    ("a group's equality, descending", q(A, group=True), [override("a", "desc group")]),
    ("a group's array", q(TAG, group=True), [override("tags", "array group")]),
    ("a group's equality, by name", q(A, order="__name__", group=True), [override("a", "desc group")]),
    ("a group's composite", q(A, order="b", group=True), [index("a, b", "COLLECTION_GROUP")]),
    ("a group's map", q(("m.x", "==", 1), group=True), [override("m", "asc group")]),
]  # fmt: skip

MISSING: list[Any] = [
    # query, definitions, and what the message asks for
    ("an equality and an order", q(A, order="b"), [], "a, b, __name__"),
    ("a descending order", q(A, order="b desc"), [index("a, b")], "a, b desc, __name__ desc"),
    ("the last of an order", q(A, order="b", last=True), [index("a, b")], "a, b desc, __name__ desc"),
    ("an equality and a range", q(A, MORE_B), [], "a, b, __name__"),
    ("not equal", q(A, ("b", "!=", 1)), [], "a, b, __name__"),
    ("not in", q(A, ("b", "not-in", [1])), [], "a, b, __name__"),
    ("not null", q(A, ("b", "!=", None)), [], "a, b, __name__"),
    ("in and a range", q(("a", "in", [1, 2]), MORE_B), [], "a, b, __name__"),
    ("a null and an order", q(("a", "==", None), order="b"), [], "a, b, __name__"),
    ("what is no number, and an order", q(("a", "==", float("nan")), order="b"), [], "a, b, __name__"),
    ("an array and an order", q(TAG, order="a"), [], "tags array, a, __name__"),
    ("any of an array and an order", q(TAGS, order="a"), [], "tags array, a, __name__"),
    ("an array, an equality and an order", q(TAG, A, order="b"), [], "tags array, a, b, __name__"),
    ("two orders", q(order="a, b"), [], "a, b, __name__"),
    ("two orders, both the other way", q(order="a, b desc"), [index("a desc, b")], "a, b desc, __name__ desc"),
    ("two ranges", q(MORE_A, MORE_B), [], "a, b, __name__"),
    ("two ranges, descending", q(MORE_A, MORE_B), [index("a desc, b desc")], "a, b, __name__"),
    ("names backwards", q(order="__name__ desc"), [], "__name__ desc"),
    ("names backwards in a group", q(order="__name__ desc", group=True), [], "group: __name__ desc"),
    ("the other direction of the name", q(order="a, __name__ desc"), [], "a, __name__ desc"),
    ("a longer index", q(A, order="b"), [index("a, b, x")], "a, b, __name__"),
    ("a shorter index", q(A, B, order="x"), [index("a, x")], "a, b, x, __name__"),
    ("the order before the equality", q(A, order="b"), [index("b, a")], "a, b, __name__"),
    ("no array index", q(TAG, A, order="b"), [index("tags, a, b")], "tags array, a, b, __name__"),
    ("indexes of unlike orders", q(A, B, order="x"), [index("a, x"), index("b, x desc")], "a, b, x, __name__"),
    ("another collection's index", q(A, order="b"), [index("a, b", group="d")], "a, b, __name__"),
    ("a group's index", q(A, order="b"), [index("a, b", "COLLECTION_GROUP")], "a, b, __name__"),
    ("a recursive index", q(A, order="b"), [index("a, b", "COLLECTION_RECURSIVE")], "a, b, __name__"),
    ("a collection's index for a group", q(A, order="b", group=True), [index("a, b")], "group: a, b, __name__"),
    ("one choice has none", q(either(A, B), order="x"), [index("a, x")], "b, x, __name__"),
    ("a choice that a range orders", q(either(A, MORE_B)), [], "a, b, __name__"),
    # a field's own index
    ("an exempted field", q(A), [override("a")], "COLLECTION_ASC a"),
    ("all fields exempted", q(A), [NONE_OF_ALL], "COLLECTION_ASC a"),
    ("an exempted map", q(("m.x", "==", 1)), [override("m")], "COLLECTION_ASC m.x"),
    ("a range of an exempted field", q(MORE_A), [override("a", "desc")], "COLLECTION_ASC a"),
    ("an exempted order", q(order="a desc"), [override("a", "asc")], "COLLECTION_DESC a"),
    ("an exempted array", q(TAG), [override("tags", "asc")], "COLLECTION_CONTAINS tags"),
    ("an array's index for an equality", q(A), [override("a", "array")], "COLLECTION_ASC a"),
    ("an array's index for a range", q(("a", ">", 1)), [override("a", "array")], "COLLECTION_ASC a"),
    ("a name and an exempted field", q(("__name__", "==", "x"), A), [override("a")], "COLLECTION_ASC a"),
    ("a name's direction", q(A, order="__name__ desc"), [override("a", "asc")], "COLLECTION_DESC a"),
    ("a group's field", q(A, group=True), [], "COLLECTION_GROUP_ASC a"),
    ("a group's range", q(MORE_A, group=True), [], "COLLECTION_GROUP_ASC a"),
    ("a group's order", q(order="a desc", group=True), [], "COLLECTION_GROUP_DESC a"),
    ("a group's array", q(TAG, group=True), [], "COLLECTION_GROUP_CONTAINS tags"),
    ("a group's field for a collection", q(A), [override("a", "asc group")], "COLLECTION_ASC a"),
    ("a quoted field", q(("`a-b`", "==", 1), group=True), [], "COLLECTION_GROUP_ASC `a-b`"),
    ("indexes of unlike names", q(A, B), [override("a", "asc"), override("b", "desc")], "a, b, __name__"),
    ("exempted equalities", q(A, B), [override("a")], "a, b, __name__"),
    ("a group's equalities", q(A, B, group=True), [override("a", "asc group")], "group: a, b, __name__"),
]  # fmt: skip


def emulator(tmp_path: Path, entries: list[Any]) -> Emulator:
    path = tmp_path / "firestore.indexes.json"
    path.write_text(as_file(entries))
    return Emulator(indexes=path, enforce_indexes=True)


@pytest.mark.parametrize(("query", "entries"), [row[1:] for row in SERVED], ids=[row[0] for row in SERVED])
async def test_a_query_with_its_indexes_is_served(tmp_path: Path, query: Any, entries: Any) -> None:
    client = emulator(tmp_path, entries).client()
    await query(client).get()


@pytest.mark.parametrize(
    ("query", "entries", "expected"), [row[1:] for row in MISSING], ids=[row[0] for row in MISSING]
)
async def test_a_query_without_its_indexes_fails_and_tells_what_to_add(
    tmp_path: Path, query: Any, entries: Any, expected: str
) -> None:
    client = emulator(tmp_path, entries).client()
    with pytest.raises(FailedPrecondition) as info:
        await query(client).get()
    assert asked(info.value.message) == expected
    client = emulator(tmp_path, entries + to_add(info.value.message)).client()
    await query(client).get()


async def test_aggregations_are_held_to_their_indexes(tmp_path: Path) -> None:
    client = emulator(tmp_path, []).client()
    query = client.collection("c").where(filter=FieldFilter(*A))
    await query.count().get()
    with pytest.raises(FailedPrecondition, match="requires an index"):
        await query.sum("x").get()
    with pytest.raises(FailedPrecondition, match="requires an index"):
        await query.avg("x").get()


async def test_a_list_of_documents_in_an_order_is_held_to_its_indexes(tmp_path: Path) -> None:
    client = emulator(tmp_path, [override("b")]).client()

    async def listed(order_by: str) -> Any:
        request = {
            "parent": f"{client._database_string}/documents",
            "collection_id": "c",
            "order_by": order_by,
        }
        return await client._firestore_api.list_documents(request=request)

    await listed("")
    await listed("a desc")
    with pytest.raises(FailedPrecondition, match="COLLECTION_ASC index for collection c and field b"):
        await listed("b")
    with pytest.raises(FailedPrecondition, match="requires an index"):
        await listed("a, b")


async def test_a_transaction_outlives_a_query_that_fails_for_its_index(tmp_path: Path) -> None:
    client = emulator(tmp_path, []).client()
    ref = client.document("c/1")
    transaction = client.transaction()
    await transaction._begin()
    with pytest.raises(FailedPrecondition, match="requires an index"):
        await q(A, order="b")(client).get(transaction=transaction)
    await q(A)(client).get(transaction=transaction)
    transaction.set(ref, {"a": 1})
    await transaction._commit()
    assert (await ref.get()).exists


async def test_every_query_is_served_unless_indexes_are_enforced(tmp_path: Path) -> None:
    path = tmp_path / "firestore.indexes.json"
    path.write_text(as_file([NONE_OF_ALL]))
    await q(A, order="b")(Emulator(indexes=path).client()).get()


async def test_it_is_the_same_over_grpc_and_in_threads(tmp_path: Path) -> None:
    local = emulator(tmp_path, [])
    with pytest.raises(FailedPrecondition, match="requires an index"):
        local.sync_client().collection("c").order_by("a").order_by("b").get()
    async with local.serving() as address, connect(address) as client:
        with pytest.raises(FailedPrecondition, match=r"requires an index\. You can create it here: https://"):
            await q(order="a, b")(client).get()
