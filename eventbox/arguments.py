"""What an `EventBox` checks of its arguments before anything is sent: TypeError or ValueError tells what is wrong."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.async_transaction import AsyncTransaction

from dsset.items import check_moment
from eventbox.batch import Bounds
from eventbox.recipient import Recipient

_PROCESSOR_METHODS = ("load_state", "prepare_mutation", "fetch_eversion", "save_state")


def check_client(client: object) -> None:
    """google's asynchronous client."""
    if not isinstance(client, AsyncClient):
        raise TypeError(
            f"client must be a google.cloud.firestore.AsyncClient, not {type(client).__name__}"
            + (" (the synchronous client will not do)" if type(client).__name__ == "Client" else "")
        )


def check_recipient(recipient: object, client: AsyncClient) -> None:
    """A `Recipient` whose reference is from a client of the same database."""
    if not isinstance(recipient, Recipient):
        raise TypeError(
            f"expected a Recipient, not {type(recipient).__name__}: Recipient(client.document('orders/1'), 'order')"
        )
    if recipient.ref._client is client:
        return  # as almost always; google's client puts its database's name together each time it is asked
    theirs, ours = recipient.ref._client._database_string, client._database_string
    if theirs != ours:
        raise ValueError(
            f"recipient {recipient} lies in {theirs}, but this EventBox's client speaks to {ours}"
        )


def check_transaction(transaction: object, client: AsyncClient) -> None:
    """None, or a transaction of the asynchronous client on the same database."""
    if transaction is None:
        return
    if not isinstance(transaction, AsyncTransaction):
        raise TypeError(f"transaction must be an AsyncTransaction, not {type(transaction).__name__}")
    theirs, ours = transaction._client._database_string, client._database_string
    if theirs != ours:
        raise ValueError(f"the transaction is on {theirs}, but this EventBox's client speaks to {ours}")


def check_processor(processor: object) -> None:
    """Anything that has a processor's methods."""
    if isinstance(processor, type):
        raise TypeError(f"{processor.__name__} is a class: give a processor that was made of it")
    missing = [name for name in _PROCESSOR_METHODS if not callable(getattr(processor, name, None))]
    if missing:
        raise TypeError(
            f"a {type(processor).__name__} is no Processor: it lacks {', '.join(missing)} (a subclass of "
            "DocumentProcessor needs prepare_mutation alone)"
        )


def check_duration(name: str, duration: object, alternative: str = "") -> None:
    """A timedelta above 0."""
    if not isinstance(duration, timedelta) or duration <= timedelta(0):
        raise ValueError(f"{name} must be a positive timedelta{alternative}, not {duration!r}")


def check_positive(name: str, value: object) -> None:
    """An int above 0 that fits 32 bits."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not 0 < value < 2**31:
        raise ValueError(f"{name} must be positive and fit 32 bits, not {value}")


def check_concurrency(concurrency: object) -> None:
    """One of the two."""
    if concurrency not in ("optimistic", "pessimistic"):
        raise ValueError(f'concurrency must be "optimistic" or "pessimistic", not {concurrency!r}')


def checked_bounds(max_events: int, max_bytes: int, as_of: datetime | None = None) -> Bounds:
    """What a batch may take."""
    check_positive("max_events", max_events)
    check_positive("max_bytes", max_bytes)
    check_moment(as_of, "as_of")
    return Bounds(max_events, max_bytes, as_of)
