"""What a process can be told to do; one may have several of these roles."""

from __future__ import annotations

from collections.abc import Mapping

from tests.chaos.actor import Role
from tests.chaos.following import follow, order
from tests.chaos.ingesting import ingest
from tests.chaos.producing import produce
from tests.chaos.working import poll, sweep, work

ROLES: Mapping[str, Role] = {
    "work": work,
    "poll": poll,
    "sweep": sweep,
    "produce": produce,
    "order": order,
    "follow": follow,
    "ingest": ingest,
}
