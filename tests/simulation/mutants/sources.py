"""Mistakes in locks, leaders, committers and ingestion."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from google.api_core.exceptions import GoogleAPICallError

from eventbox.sources import committer, leader, lock, pipeline, writers
from eventbox.sources.lock import DistributedLock
from eventbox.sources.versioned_document import SupersededError, VersionedDocument
from tests.simulation.mutants.patching import Change, mutant


@mutant("ingestion")
def a_lease_is_taken_without_the_version_check() -> list[Change]:
    original = VersionedDocument.replace

    async def replace(self: Any, fields: Any, version: Any, timeout: timedelta) -> Any:
        if "holder" in fields:
            version = (await self.read(timeout)).version
        return await original(self, fields, version, timeout)

    return [(VersionedDocument, "replace", replace)]


@mutant("ingestion")
def a_lease_is_taken_early() -> list[Change]:
    original = DistributedLock._taken_for

    def taken_for(self: Any, found: Any) -> timedelta:
        return original(self, found) - self._heartbeat / 2

    return [(DistributedLock, "_taken_for", taken_for)]


@mutant("ingestion")
def a_lease_is_reckoned_by_the_time_of_day() -> list[Change]:
    def taken_for(self: Any, found: Any) -> timedelta:
        if found.version is None or "free" in found.fields:
            return timedelta(0)
        age = self._clock.now() - lock.documents.moment(found.version)
        return timedelta(microseconds=found.integer("lease")) - age

    return [(DistributedLock, "_taken_for", taken_for)]


@mutant("ingestion")
def the_holder_reckons_from_the_answer() -> list[Change]:
    """Its lease ends later for itself than for the others."""
    original = DistributedLock._write

    async def write(self: Any, session: Any, fields: Any, timeout: timedelta) -> bool:
        written = await original(self, session, fields, timeout)
        self._written_at = self._deadline()
        return written

    beat = DistributedLock._beat

    async def late(self: Any, session: Any) -> bool:
        renewed = await beat(self, session)
        if renewed:
            session.deadline = self._written_at
        return renewed

    return [(DistributedLock, "_write", write), (DistributedLock, "_beat", late)]


@mutant("ingestion")
def a_renewal_ignores_that_the_lease_is_lost() -> list[Change]:
    def lose(self: Any, session: Any, reason: str) -> None:
        session.deadline = self._deadline()

    return [(DistributedLock, "_lose", lose)]


@mutant("ingestion")
def the_token_does_not_rise() -> list[Change]:
    original = DistributedLock._fields

    def fields(self: Any, token: int, holder: bytes | None = None) -> Any:
        return original(self, 7, holder)

    return [(DistributedLock, "_fields", fields)]


@mutant("ingestion")
def a_crashed_holder_keeps_the_lock() -> list[Change]:
    def taken_for(self: Any, found: Any) -> timedelta:
        free = found.version is None or "free" in found.fields
        return timedelta(0) if free else timedelta(minutes=10) - found.age

    return [(DistributedLock, "_taken_for", taken_for)]


@mutant("ingestion")
def who_lets_go_does_not_look_who_holds() -> list[Change]:
    async def unlock(self: Any) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        self._last = session
        await lock.end(*session.tasks)
        fields = {**self._fields(session.token), "free": lock.protos.Value(string_value=self._document.id)}
        try:
            found = await self._document.read(self._heartbeat)
            await self._document.replace(fields, found.version, self._heartbeat)
        except (GoogleAPICallError, SupersededError):
            pass

    return [(DistributedLock, "unlock", unlock)]


@mutant("ingestion")
def work_goes_on_without_the_lock() -> list[Change]:
    original = leader.end

    async def end(*tasks: asyncio.Future[Any]) -> None:
        await original(*tasks[1:])

    return [(leader, "end", end)]


@mutant("ingestion")
def commits_are_not_fenced() -> list[Change]:
    original = committer._refusal

    def refusal(ingestor: str, place: Any, parent: Any, block: Any, token: int | None) -> str | None:
        return original(ingestor, place, parent, block, max(place.token, token or 0))

    return [(committer, "_refusal", refusal)]


@mutant("ingestion")
def the_place_is_not_claimed() -> list[Change]:
    async def claim(self: Any, ingestor: str, token: int) -> None:
        return None

    return [(committer.Committer, "claim", claim)]


@mutant("ingestion")
def a_commit_does_not_check_its_parent() -> list[Change]:
    def refusal(ingestor: str, place: Any, parent: Any, block: Any, token: int | None) -> str | None:
        return None if (token or 0) >= place.token else "fenced"

    return [(committer, "_refusal", refusal)]


@mutant("ingestion")
def a_commit_without_precondition() -> list[Change]:
    original = VersionedDocument.replace

    async def replace(self: Any, fields: Any, version: Any, timeout: timedelta) -> Any:
        if "commit" in fields:
            version = (await self.read(timeout)).version
        return await original(self, fields, version, timeout)

    return [(VersionedDocument, "replace", replace)]


@mutant("ingestion")
def a_lost_commit_is_sent_again_blindly() -> list[Change]:
    original = VersionedDocument.replace

    async def replace(self: Any, fields: Any, version: Any, timeout: timedelta) -> Any:
        try:
            return await original(self, fields, version, timeout)
        except SupersededError:
            return await original(self, fields, (await self.read(timeout)).version, timeout)

    return [(VersionedDocument, "replace", replace)]


@mutant("ingestion")
def a_block_that_failed_counts() -> list[Change]:
    return [(pipeline, "_failed", lambda result: False), (pipeline.Result, "error", None)]


@mutant("ingestion")
def the_pointer_moves_before_the_block_is_written() -> list[Change]:
    original = writers.BoxWriter.write

    async def write(self: Any, ingestor: str, block: bytes, events: Any) -> None:
        asyncio.ensure_future(_quietly(original(self, ingestor, block, events)))  # noqa: RUF006

    return [(writers.BoxWriter, "write", write)]


@mutant("ingestion")
def events_of_a_block_have_random_ids() -> list[Change]:
    def with_ids(ingestor: str, block: bytes, events: Any) -> Any:
        return list(events)

    return [(writers, "with_ids", with_ids)]


async def _quietly(work: Any) -> None:
    try:
        await work
    except Exception:
        return
