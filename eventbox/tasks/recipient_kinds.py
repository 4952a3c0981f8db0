"""`RecipientKinds`: which documents have an inbox here, and what processes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.cloud.firestore_v1.async_client import AsyncClient

from eventbox.processor import Processor
from eventbox.recipient import Recipient
from eventbox.tasks.recipient_pattern import RecipientPattern, is_valid_id

ProcessorFactory: TypeAlias = Callable[[Recipient, Mapping[str, str]], Processor[Any]]
"""Makes the processor of a recipient, from it and from what the pattern's placeholders stand for."""

_MAX_NAME_BYTES = 6 * 1024
"""Of a document's full name, by Firestore's documentation."""


@dataclass(frozen=True, slots=True)
class Match:
    """A recipient, and how to make its processor."""

    recipient: Recipient
    params: Mapping[str, str]
    factory: ProcessorFactory


@dataclass(frozen=True, slots=True)
class _Kind:
    pattern: RecipientPattern
    factory: ProcessorFactory
    monitoring_string: str


class RecipientKinds:
    """The recipients of one database that a worker knows, by their patterns."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._prefix = f"{client._database_string}/documents/"
        self._kinds: list[_Kind] = []

    def add(self, pattern: str, factory: ProcessorFactory, monitoring_string: str) -> None:
        """Let these documents have an inbox.

        Raises:
            TypeError, ValueError: a bad argument, or a pattern that some document would match besides another one.
        """
        parsed = RecipientPattern.parse(pattern)
        if not callable(factory):
            raise TypeError(f"factory must be callable, not {type(factory).__name__}")
        if not isinstance(monitoring_string, str):
            raise TypeError(f"monitoring_string must be a str, not {type(monitoring_string).__name__}")
        if not monitoring_string:
            raise ValueError("monitoring_string must not be empty: it labels the metrics of these recipients")
        for kind in self._kinds:
            if kind.pattern.overlaps(parsed):
                raise ValueError(
                    f"{pattern!r} is there already"
                    if kind.pattern.text == pattern
                    else f"{pattern!r} and {kind.pattern.text!r} would both match some documents: which one is meant?"
                )
        self._kinds.append(_Kind(parsed, factory, monitoring_string))

    def find(self, name: str) -> Match | None:
        """The recipient with this full document name, or None where it is of no kind that is known."""
        if not name.startswith(self._prefix) or len(name.encode("utf-8", "replace")) > _MAX_NAME_BYTES:
            return None
        segments = name.removeprefix(self._prefix).split("/")
        if not all(is_valid_id(segment) for segment in segments):
            return None
        for kind in self._kinds:
            params = kind.pattern.match(segments)
            if params is not None:
                recipient = Recipient(self._client.document(*segments), kind.monitoring_string)
                return Match(recipient, params, kind.factory)
        return None
