"""Resource names: `projects/P/databases/D/documents/collection/document/...`."""

from __future__ import annotations

import re
from functools import lru_cache

from grpc import StatusCode

from emulator.status import Status

MAX_NAME_BYTES = 6 * 1024
MAX_ID_BYTES = 1_500
MAX_DEPTH = 100  # of subcollections

RESERVED = re.compile(r"__.*__", re.DOTALL)
_NUMERIC_ID = re.compile(r"__id(-?\d{1,19})__")
_DATABASE = re.compile(r"projects/(?!\.{1,2}/)[^/\x00-\x1f]+/databases/(?!\.{1,2}\Z)[^/\x00-\x1f]+")
_MAX_DATABASE_NAME = 512  # characters; a project's ID has 30, a domain and a database's ID 63 each
_SHORT_ID, _SHORT_NAME = MAX_ID_BYTES // 4, MAX_NAME_BYTES // 4  # characters, which have four bytes at most
_PLAIN_ID = f"/[^/._][^/]{{0,{_SHORT_ID - 1}}}+"  # what begins otherwise may be reserved
_PLAIN_PATH = re.compile(f"(?:{_PLAIN_ID}{_PLAIN_ID}){{1,{MAX_DEPTH}}}+")
"""What follows a database's root in nearly every document's name: nothing can be wrong with it."""
_MIN_NUMERIC_ID, _MAX_NUMERIC_ID = -(1 << 63), (1 << 63) - 1


def check_document(name: str, database: str) -> str:
    """The name of a document of this database; INVALID_ARGUMENT where it is none."""
    root = f"{database}/documents"
    if len(name) <= _SHORT_NAME and name.startswith(root) and _PLAIN_PATH.fullmatch(name, len(root)):
        return name
    return _check_document(name, database)


def _check_document(name: str, database: str) -> str:
    segments = _below(name, database)
    if not segments or len(segments) % 2:
        raise _invalid(f'Document name "{name}" lacks "/" at index {len(name)}.')
    _check_segments(name, segments)
    return name


@lru_cache(maxsize=4_096)
def check_parent(name: str) -> str:
    """The database of what collections lie under: its root, or a document; INVALID_ARGUMENT for other names."""
    database = database_of(name)
    segments = _below(name, database)
    if len(segments) % 2:
        raise _invalid(f'Document parent name "{name}" lacks "/" at index {len(name)}.')
    _check_segments(name, segments)
    return database


@lru_cache(maxsize=256)
def check_database(name: str) -> str:
    """The name of a database; INVALID_ARGUMENT where it is none."""
    if len(name) > _MAX_DATABASE_NAME or not _DATABASE.fullmatch(name):
        raise _invalid(f'Invalid database name "{name}": expected projects/<project>/databases/<database>.')
    return name


def check_reference(name: str, database: str) -> None:
    """INVALID_ARGUMENT unless it may stand for a document of this database in a query, whatever its IDs are."""
    if not name.startswith(f"{database}/documents/"):
        other = "/".join(name.split("/", 4)[:4])
        raise _invalid(
            f"The request was for database '{database}' but was attempting to access database '{other}'"
        )
    if name.count("/") % 2 == 0:  # four above the database's root, two for each document below
        return
    raise _invalid(f'Document parent name "{name}" lacks "/" at index {len(name)}.')


def check_collection_id(collection_id: str) -> None:
    """INVALID_ARGUMENT unless it may be the ID of a collection."""
    if not collection_id:
        raise _invalid("A collection ID must not be empty.")
    if "/" in collection_id:
        raise _invalid(f'Collection id "{collection_id}" is invalid because it contains "/".')
    if collection_id in (".", "..") or RESERVED.fullmatch(collection_id):
        raise _invalid(f'Collection id "{collection_id}" is invalid because it is reserved.')
    if len(collection_id.encode()) > MAX_ID_BYTES:
        raise _invalid(f"The query kind is longer than {MAX_ID_BYTES} bytes.")


def check_document_id(document_id: str) -> None:
    """INVALID_ARGUMENT unless it may be the ID of a document.

    `__id7__` and the like are the numeric IDs that come from Datastore; all other IDs of that shape are reserved, but
    for `____`, which production takes although the documented `__.*__` matches it.
    """
    if not document_id:
        raise _invalid("A document ID must not be empty.")
    if "/" in document_id:
        raise _invalid(f'Resource id "{document_id}" is invalid because it contains "/".')
    if document_id in (".", ".."):
        raise _invalid(f'Resource id "{document_id}" is invalid because it is a single or a double dot.')
    if len(document_id) > 4 and RESERVED.fullmatch(document_id) and not _is_numeric(document_id):
        if document_id.startswith("__id"):
            raise _invalid(
                "A long document ID string must be formatted like '__id{LONG}__', where LONG is a 64-bit "
                f"integer. Found: '{document_id}'."
            )
        raise _invalid(f'Resource id "{document_id}" is invalid because it is reserved.')
    if len(document_id.encode()) > MAX_ID_BYTES:
        raise _invalid(f"The key path element name is longer than {MAX_ID_BYTES} bytes.")


def database_of(name: str) -> str:
    """The database that a resource lies in."""
    return check_database("/".join(name.split("/", 4)[:4]))


def is_root(parent: str) -> bool:
    """Whether a parent that `check_parent` let through is its database's root, and no document."""
    return parent.count("/") == 4


def collection_of(name: str) -> str:
    """The collection that a document lies in."""
    return name.rpartition("/")[0]


def _below(name: str, database: str) -> list[str]:
    root = f"{database}/documents"
    if name == root:
        return []
    if name.startswith(f"{root}/"):
        return name[len(root) + 1 :].split("/")
    if name.startswith(f"{database}/"):
        raise _invalid(f'Document name "{name}" lacks "documents" at index {len(database) + 1}.')
    other = "/".join(name.split("/", 4)[:4])
    raise _invalid(
        f"The request was for database '{database}' but was attempting to access database '{other}'"
    )


def _check_segments(name: str, segments: list[str]) -> None:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise _invalid(f"The document name is longer than {MAX_NAME_BYTES} bytes.")
    if len(segments) > 2 * MAX_DEPTH:
        raise _invalid(f"Key path is too long. Cannot exceed {MAX_DEPTH} elements.")
    index = len(name) - sum(map(len, segments)) - len(segments) + 1 if segments else 0
    for depth, segment in enumerate(segments):
        kind = "resource" if depth % 2 else "collection"
        if not segment:
            raise _invalid(f'Document name "{name}" has an empty {kind} id at index {index}.')
        if segment in (".", ".."):
            raise _invalid(f'Document name "{name}" contains a {kind} id "{segment}" at index {index}.')
        if depth % 2:
            check_document_id(segment)
        elif len(segment.encode()) > MAX_ID_BYTES:
            raise _invalid(f"The key path element kind is longer than {MAX_ID_BYTES} bytes.")
        else:
            check_collection_id(segment)
        index += len(segment) + 1


def _is_numeric(document_id: str) -> bool:
    match = _NUMERIC_ID.fullmatch(document_id)
    return match is not None and _MIN_NUMERIC_ID <= int(match[1]) <= _MAX_NUMERIC_ID


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
