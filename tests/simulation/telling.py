"""What a request is about, in a few words, for somebody who reads the story of a history."""

from __future__ import annotations

from typing import Any

from dsset.documents import GONE
from tests.simulation.truth import ROOT

_MOST = 4
_WRITES = frozenset({"Commit", "BatchWrite"})


def told(rpc: str, request: Any) -> str:
    """What it reads, writes or creates; empty where the name of the RPC says all."""
    if rpc in _WRITES:
        return _several([_write(write) for write in request.writes])
    if rpc == "BatchGetDocuments":
        return _several([_short(name) for name in request.documents])
    if rpc == "GetDocument":
        return _short(request.name)
    if rpc == "RunQuery":
        query = request.structured_query
        kind = query.from_[0].collection_id if query.from_ else "?"
        behind = " behind a cursor" if query.HasField("start_at") else ""
        return f"{kind} of {_short(request.parent)}{behind}"
    if rpc == "CreateTask":
        task = request.task
        path = task.http_request.url.partition("//")[2].partition("/")[2]
        return f"{path} {task.name.rpartition('/')[2][:8]} {bytes(task.http_request.body)[:100]!r}"
    return ""


def _write(write: Any) -> str:
    if write.delete:
        return f"deletes {_short(write.delete)}"
    name, fields = write.update.name, write.update.fields
    path, _, id = name.rpartition("/")
    if "/eventbox_inbox" in path:
        owner = _short(path.removesuffix("/eventbox_inbox"))
        event = fields["id"].string_value if "id" in fields else id[:8]
        gone = "due" in fields and fields["due"].integer_value == GONE
        return f"{'consumes' if gone else 'adds'} {event} {'of' if gone else 'to'} {owner}"
    if "eventbox_reminders" in path:
        return f"reminder {id[:8]}"
    if "eventbox_eversion" in fields:
        return f"{_short(name)} at eversion {fields['eventbox_eversion'].integer_value}"
    if not fields and not write.update_transforms:
        return f"checks {_short(name)}"
    return _short(name)


def _short(name: str) -> str:
    path = name.removeprefix(ROOT)
    if path.startswith("eventbox_queues/"):
        shard, _, rest = path.removeprefix("eventbox_queues/").partition("/")
        return f"{rest.partition('/')[2][:8]} of ".removeprefix(" of ") + f"shard {shard.rpartition('-')[2]}"
    if "/eventbox_" in path:
        owner, _, rest = path.partition("/eventbox_")
        kind, _, id = rest.partition("/")
        return f"{kind} {id[:8]} of {owner}" if owner else f"{kind} {id[:8]}"
    return path


def _several(things: list[str]) -> str:
    more = f" and {len(things) - _MOST} more" if len(things) > _MOST else ""
    return ", ".join(things[:_MOST]) + more
