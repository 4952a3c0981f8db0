"""Which documents a pattern means, and which patterns are none."""

from __future__ import annotations

import pytest

from eventbox.tasks.recipient_pattern import RecipientPattern


@pytest.mark.parametrize(
    ("pattern", "path", "params"),
    [
        ("orders/{order_id}", "orders/1", {"order_id": "1"}),
        ("orders/{order_id}", "orders/{order_id}", {"order_id": "{order_id}"}),
        ("orders/{order_id}", "orders/a b%2F", {"order_id": "a b%2F"}),
        ("shops/{shop}/orders/{order}", "shops/s/orders/o", {"shop": "s", "order": "o"}),
        ("shops/main/orders/{order}", "shops/main/orders/o", {"order": "o"}),
        ("settings/global", "settings/global", {}),
        ("orders/{order_id}", "order/1", None),
        ("orders/{order_id}", "orders/1/items/2", None),
        ("shops/{shop}/orders/{order}", "shops/1", None),
        ("settings/global", "settings/other", None),
    ],
)
def test_a_placeholder_stands_for_one_id_and_the_rest_for_itself(
    pattern: str, path: str, params: dict[str, str] | None
) -> None:
    assert RecipientPattern.parse(pattern).match(path.split("/")) == params


@pytest.mark.parametrize(
    "text",
    [
        "",
        "orders",
        "/orders/{id}",
        "orders/{id}/",
        "orders//{id}/x",
        "orders/{id}/items",
        "{collection}/{id}",
        "orders/{}",
        "orders/{order id}",
        "orders/{1}",
        "orders/{id",
        "orders/id}",
        "orders/order-{id}",
        "orders/{a}{b}",
        "orders/{{id}}",
        "shops/{id}/orders/{id}",
        "orders/.",
        "../orders",
        "orders/__x__",
        "__orders__/{id}",
        "o" * 1501 + "/{id}",
        "\ud800/{id}",
    ],
)
def test_what_is_no_path_of_documents_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        RecipientPattern.parse(text)


def test_a_pattern_is_text() -> None:
    with pytest.raises(TypeError):
        RecipientPattern.parse(b"orders/{id}")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("orders/{a}", "orders/{b}", True),
        ("orders/{a}", "orders/main", True),
        ("orders/x", "orders/main", False),
        ("orders/{a}", "users/{a}", False),
        ("shops/{a}/orders/1", "shops/main/orders/{b}", True),
        ("shops/{a}/orders/{b}", "shops/{a}", False),
        ("shops/one/orders/{b}", "shops/two/orders/{b}", False),
    ],
)
def test_patterns_overlap_where_some_document_matches_both(one: str, other: str, overlap: bool) -> None:
    first, second = RecipientPattern.parse(one), RecipientPattern.parse(other)

    assert first.overlaps(second) == second.overlaps(first) == overlap
