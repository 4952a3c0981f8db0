"""A world that clients write to while its emulator is killed, and that knows what must be there afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore import AsyncClient

_ACCOUNTS = ["a", "b", "c"]
_OPENING = 100
_GROUP = 60  # documents, so that writing them takes a while
_DELAY = 0.003  # seconds


@dataclass
class Register:
    """Documents that say the same (None: they do not exist): what was acknowledged last, and what is under way."""

    paths: list[str]
    known: int | None = None
    sent: int | None = None

    async def write(self, client: AsyncClient, rng: Random) -> None:
        """Move on by one commit."""
        above = max(self.known or 0, self.sent or 0)
        self.sent = above + 1 if self.known is None or rng.random() < 0.7 else None
        if len(self.paths) == 1:
            await self._write_one(client, rng)
        else:
            batch = client.batch()
            for path in self.paths:
                ref = client.document(path)
                batch.delete(ref) if self.sent is None else batch.set(ref, {"n": self.sent, "x": "x" * 100})
            await batch.commit(retry=None)
        self.known = self.sent

    async def _write_one(self, client: AsyncClient, rng: Random) -> None:
        ref = client.document(self.paths[0])
        if self.sent is None:
            await ref.delete(retry=None)
        elif self.known is not None and rng.random() < 0.5:
            await ref.update({"n": firestore.Increment(self.sent - self.known)}, retry=None)
        else:
            await ref.set({"n": self.sent}, retry=None)

    def check(self, found: dict[str, Any]) -> None:
        """Everything acknowledged is there, and what was under way is there wholly or not at all."""
        states = {path: found[path]["n"] if path in found else None for path in self.paths}
        assert len(set(states.values())) == 1, f"half a commit: {states}"
        state = states[self.paths[0]]
        assert state in (self.known, self.sent), f"{self.paths[0]}: {state}, not {self.known} or {self.sent}"
        self.known = self.sent = state


@dataclass
class Bank:
    """Accounts that transactions move money between, each with an entry in the ledger."""

    sent: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    opened: bool = False

    async def open(self, client: AsyncClient) -> None:
        if not self.opened:
            batch = client.batch()
            for account in _ACCOUNTS:
                batch.set(client.document(f"accounts/{account}"), {"n": _OPENING})
            await batch.commit(retry=None)
            self.opened = True

    async def write(self, client: AsyncClient, rng: Random) -> None:
        """Make one transfer."""
        entry = f"{len(self.sent)}"
        source, target = sorted(rng.sample(_ACCOUNTS, 2))
        amount = rng.randint(-9, 9)
        self.sent[entry] = source, target, amount
        refs = [client.document(f"accounts/{account}") for account in (source, target)]

        @firestore.async_transactional
        async def transfer(transaction: Any) -> None:
            balances = [(await ref.get(transaction=transaction)).get("n") for ref in refs]
            transaction.update(refs[0], {"n": balances[0] - amount})
            transaction.update(refs[1], {"n": balances[1] + amount})
            content = {"from": source, "to": target, "amount": amount}
            transaction.create(client.document(f"ledger/{entry}"), content)

        await transfer(client.transaction(max_attempts=20))
        self.acknowledged.add(entry)

    def check(self, found: dict[str, Any]) -> None:
        """Every acknowledged transfer is in the ledger, and the accounts are what the ledger makes of them."""
        if not self.opened:
            return
        ledger = {
            path.split("/")[1]: content for path, content in found.items() if path.startswith("ledger/")
        }
        assert self.acknowledged <= set(ledger) <= set(self.sent)
        balances = dict.fromkeys(_ACCOUNTS, _OPENING)
        for entry, content in ledger.items():
            source, target, amount = self.sent[entry]
            assert content == {"from": source, "to": target, "amount": amount}
            balances[source] -= amount
            balances[target] += amount
        assert {account: found[f"accounts/{account}"]["n"] for account in _ACCOUNTS} == balances
        # what was under way and is not there never will be
        self.acknowledged = set(ledger)


class World:
    """What many clients write at once: single documents, groups that must agree, and transfers."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._registers = [Register([f"single/{n}"]) for n in range(4)]
        self._registers += [Register([f"group-{n}/{part}" for part in range(_GROUP)]) for n in range(3)]
        self._bank = Bank()

    async def write(self, client: AsyncClient, commits: int, kill: Callable[[], None]) -> None:
        """Write from all sides at once; kill after so many acknowledgements, while other commits are under way."""
        await self._bank.open(client)
        killed = asyncio.Event()
        acknowledged = 0

        async def go_on(writer: Any) -> None:
            nonlocal acknowledged
            while not killed.is_set():
                await writer.write(client, self._rng)
                acknowledged += 1
                if acknowledged == commits:
                    end = time.perf_counter() + self._rng.random() * _DELAY
                    while time.perf_counter() < end:
                        pass  # the emulator has the others' requests, and goes on
                    kill()
                    killed.set()

        writers = [*self._registers, self._bank, self._bank]
        tasks = {asyncio.ensure_future(go_on(writer)) for writer in writers}
        stopped = asyncio.ensure_future(killed.wait())
        await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
        while pending := {task for task in tasks if not task.done()}:
            for task in pending:  # more than once: a transaction rolls back, of which nobody hears any more
                task.cancel()
            await asyncio.wait(pending, timeout=0.01)
        stopped.cancel()
        for task in tasks:
            error = None if task.cancelled() else task.exception()
            # those of the emulator that has gone; a task that has ended before it was killed has found a bug
            assert error is None or (
                killed.is_set() and isinstance(error, exceptions.GoogleAPICallError | ValueError)
            )

    async def check(self, client: AsyncClient) -> None:
        """Nothing is missing, and nothing is there by half."""
        found: dict[str, Any] = {}
        async for collection in client.collections():
            async for one in collection.stream():
                found[one.reference.path] = one.to_dict()
        for register in self._registers:
            register.check(found)
        self._bank.check(found)
