"""What can happen to an order."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter


class Placed(BaseModel):
    """A customer wants it."""

    kind: Literal["placed"] = "placed"
    email: str
    total: int  # cents


class Paid(BaseModel):
    """The payment provider has money for it, perhaps not all of it, perhaps too late."""

    kind: Literal["paid"] = "paid"
    amount: int  # cents


class Overdue(BaseModel):
    """The time to pay is over."""

    kind: Literal["overdue"] = "overdue"


OrderEvent = Annotated[Placed | Paid | Overdue, Field(discriminator="kind")]

_EVENTS: TypeAdapter[Placed | Paid | Overdue] = TypeAdapter(OrderEvent)


def encode(event: Placed | Paid | Overdue) -> bytes:
    """The value of an event for the inbox."""
    return event.model_dump_json().encode()


def decode(value: bytes) -> Placed | Paid | Overdue:
    """The event of a value.

    Raises:
        pydantic.ValidationError: it is none; eventbox sets such an event aside, and its neighbours go on.
    """
    return _EVENTS.validate_json(value)
