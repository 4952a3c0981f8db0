"""`Recipient`: whom an event is for."""

from __future__ import annotations

from dataclasses import dataclass

from google.cloud.firestore_v1.async_document import AsyncDocumentReference


@dataclass(frozen=True, slots=True)
class Recipient:
    """A Firestore document that has an inbox. The document need not exist.

    Args:
        ref: the document, from the client that the `EventBox` was made with.
        monitoring_string: what metrics and spans call it, such as "order". It labels time series, so let many
            recipients share one string: a service has a few, never one for each recipient.
    """

    ref: AsyncDocumentReference
    monitoring_string: str

    def __post_init__(self) -> None:
        if not isinstance(self.ref, AsyncDocumentReference):
            raise TypeError(
                "a recipient is a document: ref must be an AsyncDocumentReference, as client.document('orders/1') "
                f"gives, not {type(self.ref).__name__}"
            )
        if not isinstance(self.monitoring_string, str):
            raise TypeError(f"monitoring_string must be a str, not {type(self.monitoring_string).__name__}")
        if not self.monitoring_string:
            raise ValueError("monitoring_string must not be empty: it labels the metrics of this recipient")

    @property
    def path(self) -> str:
        """The document's path below the database, such as "orders/1"."""
        return str(self.ref.path)

    def __str__(self) -> str:
        return self.path
