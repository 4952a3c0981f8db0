"""Resource names: `projects/P/databases/D/documents/collection/document/...`."""

from __future__ import annotations

import re
from functools import lru_cache

from grpc import StatusCode

from emulator.firestore.status import Status

MAX_NAME_BYTES = 6 * 1024
MAX_ID_BYTES = 1_500
MAX_DEPTH = 100  # of subcollections

_RESERVED = re.compile(r"__.*__", re.DOTALL)
_DATABASE = re.compile(r"projects/[^/]+/databases/[^/]+")


@lru_cache(maxsize=16_384)
def check_document(name: str, database: str) -> str:
    """The name of a document of this database; INVALID_ARGUMENT where it is none."""
    segments = _below(name, database)
    if not segments or len(segments) % 2:
        raise _invalid(f'Document name "{name}" lacks "/documents" or does not end in a document ID.')
    if len(name.encode()) > MAX_NAME_BYTES:
        raise _invalid(f"The document name is longer than {MAX_NAME_BYTES} bytes.")
    if len(segments) > 2 * MAX_DEPTH:
        raise _invalid(f"Collections are nested more than {MAX_DEPTH} deep.")
    for segment in segments:
        check_id(segment)
    return name


def check_parent(name: str) -> str:
    """The name of what collections lie under: the database's root, or a document; its database."""
    database = database_of(name)
    segments = _below(name, database)
    if len(segments) % 2:
        raise _invalid(f'Parent "{name}" is a collection where a document belongs.')
    return database


def check_database(name: str) -> str:
    """The name of a database; INVALID_ARGUMENT where it is none."""
    if not _DATABASE.fullmatch(name):
        raise _invalid(f'Invalid database name "{name}": expected projects/<project>/databases/<database>.')
    return name


def check_id(segment: str) -> None:
    """INVALID_ARGUMENT unless it may be the ID of a collection or a document."""
    if not segment:
        raise _invalid("Document and collection IDs must not be empty.")
    if segment in (".", ".."):
        raise _invalid(f'Resource id "{segment}" is invalid because it is a single or a double dot.')
    if _RESERVED.fullmatch(segment):
        raise _invalid(f'Resource id "{segment}" is invalid because it is reserved.')
    if len(segment.encode()) > MAX_ID_BYTES:
        raise _invalid(f"The resource id is longer than {MAX_ID_BYTES} bytes.")


def database_of(name: str) -> str:
    """The database that a resource lies in."""
    return check_database("/".join(name.split("/", 4)[:4]))


def collection_of(name: str) -> str:
    """The collection that a document lies in."""
    return name.rpartition("/")[0]


def _below(name: str, database: str) -> list[str]:
    root = f"{database}/documents"
    if name == root:
        return []
    if not name.startswith(f"{root}/"):
        raise _invalid(f'"{name}" does not lie in database "{database}".')
    return name[len(root) + 1 :].split("/")


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
