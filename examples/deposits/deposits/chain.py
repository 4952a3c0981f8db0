"""A chain to follow, in a file: it grows, and its last blocks are replaced now and then.

python -m deposits.chain chain.json --blocks 300 --interval 0.1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

REORGANISATION = 4
"""So many blocks, at most, are replaced at once."""

ACCOUNTS = ("ada", "bob", "cyd", "dan", "eve")


@dataclass(frozen=True)
class Deposit:
    account: str
    amount: int


@dataclass(frozen=True)
class Block:
    height: int
    hash: str
    deposits: tuple[Deposit, ...]


class Chain:
    """Makes a chain, step by step; the same one for the same seed."""

    def __init__(self, seed: int) -> None:
        self.blocks: list[Block] = []
        self._rng = Random(seed)

    def step(self) -> None:
        """Add a block; now and then replace the last ones, with other deposits in them."""
        lost = self._rng.randint(1, REORGANISATION) if self._rng.random() < 0.2 else 0
        lost = min(lost, len(self.blocks))
        del self.blocks[len(self.blocks) - lost :]
        for _ in range(lost + 1):
            self._add(self._rng.randint(0, 3))

    def seal(self) -> None:
        """Add so many empty blocks that no deposit can be replaced any more."""
        for _ in range(REORGANISATION):
            self._add(0)

    def _add(self, deposits: int) -> None:
        parent = self.blocks[-1].hash if self.blocks else ""
        block_hash = hashlib.sha256(f"{parent} {self._rng.random()}".encode()).hexdigest()
        made = tuple(Deposit(self._rng.choice(ACCOUNTS), self._rng.randint(1, 100)) for _ in range(deposits))
        self.blocks.append(Block(len(self.blocks), block_hash, made))


def balances(blocks: list[Block]) -> dict[str, int]:
    """What the chain says."""
    total: Counter[str] = Counter()
    for block in blocks:
        for deposit in block.deposits:
            total[deposit.account] += deposit.amount
    return dict(total)


def write(path: Path, blocks: list[Block]) -> None:
    """Write the chain, so that nobody ever reads half of it."""
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps([asdict(block) for block in blocks]))
    os.replace(beside, path)


def read(path: Path) -> list[Block]:
    """The chain as it is now; empty where there is none yet."""
    if not path.exists():
        return []
    return [
        Block(one["height"], one["hash"], tuple(Deposit(**deposit) for deposit in one["deposits"]))
        for one in json.loads(path.read_text())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a chain that grows.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--blocks", type=int, default=300)
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between two steps")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    chain = Chain(arguments.seed)
    while len(chain.blocks) < arguments.blocks:
        chain.step()
        write(arguments.path, chain.blocks)
        time.sleep(arguments.interval)
    chain.seal()
    write(arguments.path, chain.blocks)
    print(f"{len(chain.blocks)} blocks: {balances(chain.blocks)}")


if __name__ == "__main__":
    main()
