"""Which requests are about the documents that a fault's path names.

A path is relative to the database's root: "orders/1", or a pattern. `*` stands for any ID or any part of one, `**` for
any number of IDs: "orders/*" are the documents of the collection, "orders/**" all that lies under it, and
"**/orders/*" every collection of that ID.

A request is about the documents that it names or writes. A query, or a listing, is about its collection: it is met by
the collection's own path ("orders") and by patterns for all the documents in it ("orders/*", "orders/**"), not by the
path of a single one. A query of a collection group is about that ID wherever it lies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_FULL_NAME = re.compile(r"projects/[^/]+/databases/[^/]+/documents(/|$)")
_ALL = "*"
_DEEP = "**"


def check_path(path: str) -> None:
    """ValueError unless it can be the path of a fault."""
    if not isinstance(path, str) or not path or not all(path.split("/")):
        raise ValueError(
            f'path must be a document\'s, such as "orders/1", or a pattern, such as "orders/*", not {path!r}'
        )
    if _FULL_NAME.match(path):
        raise ValueError(
            f'path must be relative to the database\'s root, such as "orders/1": leave out '
            f'"{path.partition("/documents")[0]}/documents/" of {path!r}'
        )


def is_about(path: str, request: Any) -> bool:
    """Whether a request is about documents that a path, or a pattern, names."""
    return any(_pattern(path).fullmatch(subject) for subject in _subjects(request)) or any(
        _meets_group(path, group) for group in _groups(request)
    )


def _subjects(request: Any) -> Iterator[str]:
    """What a request is about, as paths below the root; all documents of a collection as "collection/*"."""
    for name in _document_names(request):
        yield _below_root(name)
    for parent, collection_id, deep in _collections(request):
        root = _below_root(parent)
        prefix = f"{root}/" if root else ""
        if deep:
            yield f"{prefix}{_DEEP}"
        elif collection_id:
            yield f"{prefix}{collection_id}"
            yield f"{prefix}{collection_id}/{_ALL}"
    if (
        _has(request, "parent")
        and not _has(request, "structured_query")
        and not _has(request, "collection_id")
    ):
        yield _below_root(request.parent)  # ListCollectionIds


def _document_names(request: Any) -> Iterator[str]:
    if _has(request, "name"):
        yield request.name
    if _has(request, "documents"):
        yield from request.documents
    if _has(request, "document_id"):
        yield f"{request.parent}/{request.collection_id}/{request.document_id}"
    elif _has(request, "document"):
        yield request.document.name
    for write in getattr(request, "writes", ()):
        yield write.update.name or write.delete or write.transform.document
    if _has(request, "add_target"):
        yield from request.add_target.documents.documents


def _collections(request: Any) -> Iterator[tuple[str, str, bool]]:
    """The collections that are asked: under which parent, of which ID, and whether everything under it is meant."""
    if _has(request, "add_target"):
        request = request.add_target.query
    elif _has(request, "structured_aggregation_query"):
        yield from _sources(request.parent, request.structured_aggregation_query.structured_query)
        return
    if _has(request, "structured_query"):
        yield from _sources(request.parent, request.structured_query)
    elif _has(request, "collection_id") and not _has(request, "document_id"):
        yield request.parent, request.collection_id, False


def _sources(parent: str, structured: Any) -> Iterator[tuple[str, str, bool]]:
    for source in structured.from_:
        if not (source.all_descendants and source.collection_id):
            yield parent, source.collection_id, not source.collection_id
    if not structured.from_:
        yield parent, "", True


def _groups(request: Any) -> Iterator[str]:
    """The IDs of the collection groups that are asked."""
    query = request.add_target.query if _has(request, "add_target") else request
    if _has(query, "structured_aggregation_query"):
        query = query.structured_aggregation_query
    if _has(query, "structured_query"):
        for source in query.structured_query.from_:
            if source.all_descendants and source.collection_id:
                yield source.collection_id


def _meets_group(path: str, collection_id: str) -> bool:
    segments = path.split("/")
    if segments[-1] == _ALL and len(segments) > 1:
        segments.pop()
    elif len(segments) % 2 == 0 and _DEEP not in segments:
        return False  # a single document
    return _pattern(segments[-1]).fullmatch(collection_id) is not None


def _has(message: Any, field: str) -> bool:
    """Whether a kind of message has a field at all; one that may be absent has to be there too."""
    descriptor = message.DESCRIPTOR.fields_by_name.get(field)
    if descriptor is None:
        return False
    return bool(message.HasField(field)) if descriptor.has_presence else True


def _below_root(name: str) -> str:
    return name.split("/", 5)[5] if name.count("/") >= 5 else ""


@lru_cache(maxsize=256)
def _pattern(path: str) -> re.Pattern[str]:
    parts: list[str] = []
    segments = re.sub(r"(\*\*/)+\*\*(?=/|$)", _DEEP, path).split("/")  # two of them say no more than one
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == _DEEP:
            parts.append(".+" if last else "(?:[^/]+/)*")
        else:
            inside = "[^/]*".join(map(re.escape, re.split(r"\*+", segment)))
            parts.append(inside if last else f"{inside}/")
    return re.compile("".join(parts), re.DOTALL)
