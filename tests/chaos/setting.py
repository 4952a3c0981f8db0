"""`Setting`: what all processes of a run are told."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from eventbox.dev.environment import Environment

PROJECT = "chaos"

BLOCK_EVERY = 0.1
"""Seconds between two blocks of the feed."""


@dataclass(frozen=True)
class Setting:
    """Where everything is, and how much of it there is.

    Args:
        folder: of the run: journals, logs, and the emulators' data.
        environment: where the emulators and the workers are.
        seed: of the choices that the processes make.
        began: when the feed began, in seconds since 1970.
        accounts: how many recipients there are.
        rate: acts a second of each producer.
        pessimistic: whether some of the processes lock what they read. The locks of one that is killed stay for a
            minute, and all who need them wait.
        mistake: the name of the mistake that is planted, if any.
    """

    folder: Path
    environment: Environment
    seed: int
    began: float
    accounts: int
    rate: float
    pessimistic: bool = True
    mistake: str | None = None

    @property
    def journals(self) -> Path:
        """The folder of the journals."""
        return self.folder / "journals"

    @property
    def paths(self) -> list[str]:
        """The documents of the accounts: of two kinds of processors, in turns."""
        return [f"{('accounts', 'plain')[n % 2]}/{n}" for n in range(self.accounts)]

    @property
    def polled(self) -> list[str]:
        """Half of them: pollers look after these unasked. Of the others nobody knows but by a wake-up."""
        return self.paths[: self.accounts // 2]

    def end(self, at: float) -> None:
        """Let producers begin nothing new, and the feed end at a moment, which is a little ahead."""
        new = self.folder / "over.new"
        new.write_text(json.dumps(at))
        os.replace(new, self.folder / "over")

    @property
    def over(self) -> float | None:
        """When the feed ended, if it has."""
        try:
            return float((self.folder / "over").read_text())
        except FileNotFoundError:
            return None

    def blocks(self, now: float) -> int:
        """How many blocks the feed has at a moment; they are 1, 2, 3, ..."""
        over = self.over
        return max(0, int(((now if over is None else min(now, over)) - self.began) / BLOCK_EVERY))
