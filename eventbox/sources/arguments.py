"""Checks of arguments that the stores share: TypeError or ValueError before any RPC is made."""

from __future__ import annotations

from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.async_transaction import AsyncTransaction


def check_ref(ref: object) -> None:
    """TypeError unless it is a document of an AsyncClient."""
    if not isinstance(ref, AsyncDocumentReference):
        raise TypeError(
            f"ref must be an AsyncDocumentReference (client.document(...)), not {type(ref).__name__}"
        )


def check_transaction(transaction: object, ref: AsyncDocumentReference) -> None:
    """TypeError or ValueError unless it is None, or a transaction on the database of `ref`."""
    if transaction is None:
        return
    if not isinstance(transaction, AsyncTransaction):
        raise TypeError(f"transaction must be an AsyncTransaction, not {type(transaction).__name__}")
    theirs, ours = transaction._client._database_string, ref._client._database_string
    if theirs != ours:
        raise ValueError(f"the transaction is on {theirs}, but this store lies in {ours}")


def check_bytes(what: str, value: object, most: int) -> None:
    """TypeError or ValueError unless it is at most so many bytes."""
    if not isinstance(value, bytes):
        raise TypeError(f"{what} must be bytes, not {type(value).__name__}")
    if len(value) > most:
        raise ValueError(f"{what} has {len(value):,} bytes; at most {most:,} fit")


def check_text(what: str, text: object, most: int = 256) -> None:
    """TypeError or ValueError unless it is 1 to `most` bytes of UTF-8."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, not {type(text).__name__}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} must be text that UTF-8 can encode: {error}") from error
    if not 1 <= size <= most:
        raise ValueError(f"{what} must have 1 to {most} bytes of UTF-8, not {size}: {text!r:.100}")
