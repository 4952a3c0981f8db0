"""Mistakes in the quarantine, in the isolation of events, and in tombstones that expire."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dsset import documents, protos
from dsset.adding import Adding
from eventbox import drain as drain_module, quarantine as quarantine_module
from eventbox.attempts import Attempts
from eventbox.drain import Drain
from eventbox.quarantine import Quarantine
from eventbox.suspicion import Suspicion
from tests.simulation.mutants.patching import Change, mutant, rewritten


@mutant("poison")
def what_is_set_aside_stays_outstanding() -> list[Change]:
    return [
        rewritten(
            Quarantine,
            "set_aside",
            "transaction._consume(self._inbox.removals(failure.listing, [event.id], token=token))",
            "pass",
        )
    ]


@mutant("poison")
def what_fails_once_is_set_aside() -> list[Change]:
    return [
        rewritten(Drain, "_settle", "attempts.get(one.event.id, 0) >= self._bounds.quarantine_after", "True")
    ]


@mutant("poison")
def each_attempt_counts_double() -> list[Change]:
    original = Attempts.count

    async def count(self: Any, failures: Any) -> dict[str, int]:
        await original(self, failures)
        return await original(self, failures)

    return [(Attempts, "count", count)]


@mutant("poison")
def whatever_is_in_a_batch_that_fails_is_to_blame() -> list[Change]:
    """The first event of the batch, that is."""

    def hold(self: Any, failed: Any) -> None:
        event = failed.events[0]
        self._held[event.id] = drain_module.Failure(event, failed.error, failed.listing.only({event.id}))

    async def isolate(self: Any, failed: Any, loaded: bool) -> bool:
        hold(self, failed)
        self._works = True
        return False

    return [(Drain, "_isolate", isolate)]


@mutant("poison")
def poison_blocks_its_neighbours() -> list[Change]:
    async def isolate(self: Any, failed: Suspicion, loaded: bool) -> bool:
        raise drain_module._UnresolvedError(failed.error)

    return [(Drain, "_isolate", isolate)]


@mutant("poison")
def what_is_put_back_is_not_there() -> list[Change]:
    return [rewritten(Quarantine, "_requeue", "self._inbox.restoring(item, state),", "")]


@mutant("poison")
def what_is_put_back_stays_in_quarantine() -> list[Change]:
    return [
        rewritten(
            Quarantine, "_requeue",
            "_delete_write(document.name, protos.Precondition(update_time=document.update_time)),", "",
        )
    ]  # fmt: skip


@mutant("poison")
def what_is_put_back_twice_comes_back_twice() -> list[Change]:
    def restore(name: str, item: Any, version: Any) -> Any:
        write = original(name, item, version)
        write.ClearField("current_document")
        return write

    def delete(name: str, precondition: Any) -> Any:
        return protos.Write(delete=name)

    original = documents.restore
    return [(documents, "restore", restore), (quarantine_module, "_delete_write", delete)]


@mutant("poison")
def an_id_is_free_as_soon_as_its_event_is_consumed() -> list[Change]:
    return [rewritten(Adding, "looked", "age + _GRAIN >= tombstones_delay", "True")]


@mutant("poison")
def an_id_is_never_free_again() -> list[Change]:
    return [rewritten(Adding, "looked", "age + _GRAIN >= tombstones_delay", "False")]


@mutant("poison")
def two_may_use_an_id_again_at_once() -> list[Change]:
    original = documents.revive

    def revive(name: str, item: Any, token: bytes, version: Any) -> Any:
        write = original(name, item, token, version)
        write.ClearField("current_document")
        return write

    return [(documents, "revive", revive)]


@mutant("poison")
def an_event_that_comes_again_keeps_the_time_at_which_ttl_takes_it() -> list[Change]:
    original = documents.revive

    def revive(name: str, item: Any, token: bytes, version: Any) -> Any:
        write = original(name, item, token, version)
        write.update_mask.field_paths.extend([*write.update.fields, "popped_by"])
        return write

    return [(documents, "revive", revive)]


@mutant("poison")
def ttl_takes_tombstones_early() -> list[Change]:
    return [(documents, "TTL_MARGIN", timedelta(minutes=-5))]
