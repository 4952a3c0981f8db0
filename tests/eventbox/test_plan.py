"""What a mutation may say, and what becomes of it, without any I/O."""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from eventbox import Event, Mutation, Transaction, Transition
from eventbox.plan import plan

_NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def event(event_id: str) -> Event:
    return Event(event_id, b"", _NOON)


A, B, C = event("a"), event("b"), event("c")


async def side_effect(transaction: Transaction) -> None: ...


async def post_process() -> None: ...


def planned(mutation: object, state: Any = "loaded", events: tuple[Event, ...] = (A, B)) -> Any:
    return plan(
        events,
        mutation,
        unchanged=partial(operator.is_, state),
        same=operator.is_,
        source="P.prepare_mutation",
    )


@pytest.mark.parametrize("mutation", [None, [], "x", Transition("s")])
def test_what_is_no_mutation_is_a_type_error_that_names_the_processor(mutation: object) -> None:
    with pytest.raises(TypeError, match=r"P\.prepare_mutation must return a Mutation"):
        planned(mutation)


@pytest.mark.parametrize(
    "mutation",
    [
        Mutation(transitions=["no transition"]),  # type: ignore[list-item]
        Mutation(transitions="ab"),  # type: ignore[arg-type]
        Mutation(transitions=None),  # type: ignore[arg-type]
        Mutation(garbage=["a"]),  # type: ignore[list-item]
        Mutation(garbage=A),  # type: ignore[arg-type]
        Mutation([Transition("s", events=["a"])]),  # type: ignore[list-item]
        Mutation([Transition("s", events=A)]),  # type: ignore[arg-type]
        Mutation([Transition("s", side_effect="x")]),  # type: ignore[arg-type]
        Mutation([Transition("s", post_process=3)]),  # type: ignore[arg-type]
    ],
)
def test_a_part_of_the_wrong_type_is_a_type_error(mutation: Mutation[Any]) -> None:
    with pytest.raises(TypeError, match=r"P\.prepare_mutation"):
        planned(mutation)


@pytest.mark.parametrize(
    "mutation",
    [
        Mutation([Transition("s", events=[C])]),
        Mutation(garbage=[C]),
        Mutation([Transition("s", events=[A]), Transition("t", events=[A])]),
        Mutation([Transition("s", events=[A, A])]),
        Mutation([Transition("s", events=[A])], garbage=[A]),
        Mutation(garbage=[A, A]),
    ],
)
def test_an_event_from_elsewhere_or_named_twice_is_a_value_error_that_names_it(
    mutation: Mutation[Any],
) -> None:
    with pytest.raises(ValueError, match=r"'[ac]'"):
        planned(mutation)


def test_a_transition_that_changes_nothing_is_dropped() -> None:
    assert planned(Mutation([Transition("loaded"), Transition("loaded")])).transitions == ()


@pytest.mark.parametrize(
    "transition",
    [
        Transition("other"),
        Transition("loaded", events=[A]),
        Transition("loaded", side_effect=side_effect),
        Transition("loaded", post_process=post_process),
    ],
)
def test_a_transition_that_changes_anything_is_kept(transition: Transition[str]) -> None:
    assert planned(Mutation([transition])).transitions == (transition,)


def test_a_transition_is_compared_with_the_state_before_it_and_not_with_the_loaded_one() -> None:
    away, back, stay = Transition("other"), Transition("loaded"), Transition("loaded")
    assert planned(Mutation([away, back, stay])).transitions == (away, back)


def test_garbage_is_kept_in_order() -> None:
    assert planned(Mutation(garbage=[B, A])).garbage == (B, A)


def test_an_equal_event_that_is_not_the_same_object_is_from_the_batch() -> None:
    copy = event("a")
    assert planned(Mutation([Transition("s", events=[copy])])).transitions[0].events == [copy]


def test_a_loaded_state_that_was_changed_in_place_is_compared_with_what_was_loaded_only_at_first() -> None:
    changed, fresh = {"n": 2}, {"n": 1}
    mutation = Mutation([Transition(changed), Transition(fresh)])
    kept = plan((), mutation, unchanged=fresh.__eq__, same=operator.eq, source="P").transitions
    assert kept == tuple(mutation.transitions)
