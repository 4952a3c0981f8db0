"""What one write makes of one document: preconditions, masks and transforms, as plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpc import StatusCode

from emulator.firestore import limits, names, protos
from emulator.firestore.field_paths import delete_field, get_field, parse_field, set_field
from emulator.firestore.transforms import apply_transforms
from emulator.firestore.versions import Version, is_timestamp, microseconds, new_version
from emulator.status import Status

# a message looks for a name among its fields first, which takes as long as all else that these do
_has = protos.Write.HasField
_document_has = protos.Document.HasField
_which = protos.Write.WhichOneof
_condition = protos.Precondition.WhichOneof

Written = tuple[Version | None, tuple[Any, ...]]
"""The document after a write (None: there is none), and the results of its transforms."""


def target(write: Any) -> str:
    """The name of the document that a write is about, whatever it is; empty where there is none."""
    name: str = write.update.name or write.delete or write.transform.document
    return name


def check_target(name: str, write: Any, database: str) -> None:
    """INVALID_ARGUMENT unless a write is about a document, of this name and in this database."""
    if not name and _which(write, "operation") is None:
        raise Status(
            StatusCode.INVALID_ARGUMENT, "A write must have an operation: update, delete or transform."
        )
    names.check_document(name, database)


def apply_write(name: str, before: Version | None, write: Any, now_us: int) -> Written:
    """Carry out a write on the document as it is, at the commit's time.

    A document that comes out as it went in keeps its update time. The document of a write that replaces all of it is
    taken over as it is, in place of a copy, and loses the times that it may have.
    """
    transforms = transforms_of(write)
    if transforms:
        _check_count(len(transforms))
    if _has(write, "current_document"):
        check_precondition(name, before, write.current_document, now_us)
    operation = _which(write, "operation")
    if operation != "update":
        _check_update_only(write)
        if operation == "delete":
            return None, ()
    if operation == "transform" and not transforms:
        raise Status(StatusCode.INVALID_ARGUMENT, "A transform must have at least one field transform.")
    results: tuple[Any, ...] = ()
    if operation == "update" and not transforms and not _has(write, "update_mask"):
        after = write.update
    else:
        after = _changed(name, before, write, operation)
        if transforms:
            results = tuple(apply_transforms(after.fields, transforms, now_us))
    if _document_has(after, "create_time") or _document_has(after, "update_time"):
        after.ClearField("create_time")
        after.ClearField("update_time")
    limits.check_fields(after.fields)
    body = after.SerializeToString(deterministic=True)
    limits.check_size(after, len(body))
    if before is not None and before.has_body(body):
        return before, results
    created_us = now_us if before is None else before.created_us
    return new_version(name, body, created_us, now_us, after), results


def check_transforms(names: Sequence[str], writes: Sequence[Any]) -> None:
    """INVALID_ARGUMENT where the writes, each to the document of its name, have too many transforms of one document."""
    counts: dict[str, int] = {}
    for name, write in zip(names, writes, strict=True):
        if transforms := transforms_of(write):
            counts[name] = counts.get(name, 0) + len(transforms)
            _check_count(counts[name])


def transforms_of(write: Any) -> Any:
    """A write's field transforms."""
    return write.transform.field_transforms if _has(write, "transform") else write.update_transforms


def check_precondition(name: str, before: Version | None, precondition: Any, now_us: int) -> None:
    """Raise the documented error unless the document is as the precondition has it at this time."""
    kind = _condition(precondition, "condition_type")
    if kind == "update_time":
        required = precondition.update_time
        # a document's own time first: while a manual clock stands, it may lie ahead of it
        if before is not None and is_timestamp(before.time_us, required):
            return
        if required.nanos % 1_000:
            raise Status(StatusCode.INVALID_ARGUMENT, "The update_time must be microsecond aligned.")
        if microseconds(required) > now_us:
            raise Status(StatusCode.INVALID_ARGUMENT, "The update_time cannot be in the future.")
        if before is None:
            raise Status(StatusCode.NOT_FOUND, f"No document to update: {name}")
        raise Status(
            StatusCode.FAILED_PRECONDITION,
            f"the stored version ({before.time_us}) does not match the required base "
            f"version ({microseconds(required)})",
        )
    if kind == "exists":
        exists = precondition.exists
        if exists and before is None:
            raise Status(StatusCode.NOT_FOUND, f"No document to update: {name}")
        if not exists and before is not None:
            raise Status(StatusCode.ALREADY_EXISTS, f"Document already exists: {name}")


def _check_count(transforms: int) -> None:
    if transforms > limits.MAX_TRANSFORMS:
        raise Status(
            StatusCode.INVALID_ARGUMENT,
            f"A commit may have at most {limits.MAX_TRANSFORMS} field transforms of a document.",
        )


def _check_update_only(write: Any) -> None:
    if write.HasField("update_mask") or write.update_transforms:
        field = "update_mask" if write.HasField("update_mask") else "update_transforms"
        raise Status(
            StatusCode.INVALID_ARGUMENT, f"{field} can be set only when the operation of a write is update."
        )


def _changed(name: str, before: Version | None, write: Any, operation: str | None) -> Any:
    """A message of its own of what a write makes of the document, before its transforms."""
    after = protos.Document()
    if operation == "update" and not write.HasField("update_mask"):
        after.CopyFrom(write.update)
        return after
    if before is not None:
        after.CopyFrom(before.message)
    after.name = name
    if operation == "update":
        _merge(after, write.update.fields, write.update_mask.field_paths)
    return after


def _merge(document: Any, fields: Any, mask: Any) -> None:
    """Take the fields that the mask names from `fields`, and delete those that it names and `fields` lacks."""
    for text in mask:
        path = parse_field(text)
        value = get_field(fields, path)
        if value is None:
            delete_field(document.fields, path)
        else:
            set_field(document.fields, path, value)
