"""`RecipientPattern`: which documents have an inbox, such as "orders/{order_id}"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_RESERVED = re.compile(r"__.*__", re.DOTALL)
_MAX_ID_BYTES = 1_500
"""UTF-8 bytes of a collection's or document's ID, by Firestore's documentation."""


@dataclass(frozen=True, slots=True)
class RecipientPattern:
    """A document path in which some of the documents' IDs are placeholders.

    It alternates collections and documents as every path does: "orders/{order_id}", "shops/{shop}/orders/{order}".
    A placeholder stands for one ID, whatever it is.
    """

    text: str
    _segments: tuple[str, ...]
    _names: tuple[str | None, ...]
    """The placeholder's name in each place, None where the segment stands for itself."""

    @staticmethod
    def parse(text: str) -> RecipientPattern:
        """The pattern that this text describes.

        Raises:
            TypeError: it is no text.
            ValueError: it is no path of a document, or a placeholder is not where, or not what, one may be.
        """
        if not isinstance(text, str):
            raise TypeError(f"a pattern is a str such as 'orders/{{order_id}}', not {type(text).__name__}")
        segments = tuple(text.split("/"))
        if len(segments) % 2:
            raise ValueError(
                f"{text!r} is no path of documents: it takes a collection and an ID, or several such pairs, as in "
                "'orders/{order_id}' (no slash before or after)"
            )
        names = tuple(_placeholder(segment) for segment in segments)
        for place, (segment, name) in enumerate(zip(segments, names, strict=True)):
            if name is None:
                if "{" in segment or "}" in segment:
                    raise ValueError(
                        f"a placeholder is a whole segment, as in 'orders/{{order_id}}', not {segment!r}"
                    )
                if not is_valid_id(segment):
                    raise ValueError(f"{segment!r} in {text!r} can be no ID in Firestore")
            elif place % 2 == 0:
                raise ValueError(
                    f"{segment!r} in {text!r} stands for a collection: only documents have placeholders"
                )
            elif not name.isidentifier():
                raise ValueError(f"a placeholder's name is an identifier, which {name!r} in {text!r} is not")
        named = [name for name in names if name is not None]
        if len(set(named)) != len(named):
            raise ValueError(f"each placeholder of {text!r} needs a name of its own")
        return RecipientPattern(text, segments, names)

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """What the placeholders stand for in this path, or None where it is another kind of document."""
        if len(segments) != len(self._segments):
            return None
        found: dict[str, str] = {}
        for ours, name, theirs in zip(self._segments, self._names, segments, strict=True):
            if name is not None:
                found[name] = theirs
            elif ours != theirs:
                return None
        return found

    def overlaps(self, other: RecipientPattern) -> bool:
        """Whether some document matches both."""
        return len(self._segments) == len(other._segments) and all(
            self._names[place] is not None
            or other._names[place] is not None
            or self._segments[place] == other._segments[place]
            for place in range(len(self._segments))
        )


def is_valid_id(segment: str) -> bool:
    """Whether Firestore takes it for an ID of a collection or document."""
    try:
        size = len(segment.encode())
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return (
        0 < size <= _MAX_ID_BYTES
        and segment not in (".", "..")
        and "/" not in segment
        and not _RESERVED.fullmatch(segment)
    )


def _placeholder(segment: str) -> str | None:
    found = _PLACEHOLDER.fullmatch(segment)
    return found[1] if found else None
