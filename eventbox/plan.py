"""What a batch is going to do, decided from what the processor wants: plain functions over plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from eventbox.events import Event
from eventbox.processor import Mutation, Transition

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Plan(Generic[S]):
    """The transitions that change something, and the garbage to delete before them."""

    transitions: tuple[Transition[S], ...]
    garbage: tuple[Event, ...]


def plan(
    events: Sequence[Event],
    mutation: object,
    *,
    unchanged: Callable[[S], bool],
    same: Callable[[S, S], bool],
    source: str,
) -> Plan[S]:
    """Check a mutation against the batch that it is for, and drop the transitions that change nothing.

    `unchanged` says whether a state would be stored as it was loaded, `same` whether two would be stored the same; they
    differ where the loaded state was changed in place. `source` names the processor in errors.

    Raises:
        TypeError, ValueError: the mutation is not one, or names an event that is not from this batch or twice.
    """
    if not isinstance(mutation, Mutation):
        raise TypeError(f"{source} must return a Mutation, not {type(mutation).__name__}: {mutation!r:.100}")
    transitions = _sequence(mutation.transitions, "transitions", source)
    garbage = check_garbage(events, mutation.garbage, source)
    used = {event.id: "the garbage" for event in garbage}
    batch = {event.id for event in events}
    kept: list[Transition[S]] = []
    before: S | None = None
    for position, transition in enumerate(transitions):
        place = f"transition {position}"
        _check_transition(transition, place, source)
        for event in transition.events:
            if type(event) is not Event or event.id not in batch:  # a call is much, for each of a thousand
                _check_event(event, batch, place, source)
            if event.id in used:
                raise ValueError(
                    f"{source} put event {event.id!r} into {place} as well as into {used[event.id]}"
                )
            used[event.id] = place
        changes = transition.events or transition.side_effect or transition.post_process
        after = transition.transition_to
        stays = unchanged(after) if position == 0 else same(before, after)  # type: ignore[arg-type]
        if changes or not stays:
            kept.append(transition)
        before = after
    return Plan(tuple(kept), garbage)


def check_garbage(events: Sequence[Event], garbage: object, source: str) -> tuple[Event, ...]:
    """The garbage of a batch; TypeError or ValueError where it is none."""
    garbage = _sequence(garbage, "garbage", source)
    batch = {event.id for event in events} if garbage else set()
    found: dict[str, Event] = {}
    for event in garbage:
        _check_event(event, batch, "the garbage", source)
        if event.id in found:
            raise ValueError(f"{source} put event {event.id!r} into the garbage twice")
        found[event.id] = event
    return tuple(found.values())


def _sequence(value: object, what: str, source: str) -> Sequence[Any]:
    if type(value) is tuple or type(value) is list:
        return value
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(f"the {what} that {source} returned must be a sequence, not {type(value).__name__}")
    return value


def _check_transition(transition: object, place: str, source: str) -> None:
    if not isinstance(transition, Transition):
        raise TypeError(
            f"{place} that {source} returned must be a Transition, not {type(transition).__name__}"
        )
    _sequence(transition.events, f"events of {place}", source)
    for name in ("side_effect", "post_process"):
        function = getattr(transition, name)
        if function is not None and not callable(function):
            raise TypeError(
                f"the {name} of {place} that {source} returned must be an asynchronous function or None, not "
                f"{type(function).__name__}"
            )


def _check_event(event: object, batch: set[str], place: str, source: str) -> None:
    if not isinstance(event, Event):
        raise TypeError(f"{source} put a {type(event).__name__} into {place} where an Event belongs")
    if event.id not in batch:
        raise ValueError(
            f"{source} put event {event.id!r} into {place}, but it is not from this batch: only events that "
            "prepare_mutation was called with can be consumed or be garbage"
        )
