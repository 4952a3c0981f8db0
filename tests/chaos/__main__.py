"""`python -m tests.chaos`: two minutes of chaos, and what became of the promises."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live

from tests.chaos.chaos import Plan, State, run
from tests.chaos.display import Display, closing_table
from tests.chaos.mistakes import MISTAKES


@click.command()
@click.option("--seconds", default=120.0, show_default=True, help="For how long processes are killed.")
@click.option("--seed", type=int, help="Who is killed when, and what everybody does; any by default.")
@click.option("--small", is_flag=True, help="With fewer processes.")
@click.option("--only", multiple=True, help="Strike this process alone; several may be given, or nobody.")
@click.option("--mistake", type=click.Choice(list(MISTAKES)), help="Plant this mistake: it has to be found.")
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Where to work; kept. Else it is kept on failure."
)
def main(
    seconds: float,
    seed: int | None,
    small: bool,
    mistake: str | None,
    only: Sequence[str],
    folder: Path | None,
) -> None:
    """Kill processes of an application, and its emulators, at random, and see whether every promise is kept.

    Exit status 1 where one was broken. The seed decides the choices; when each takes effect is up to the machine.
    """
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    console = Console()
    place = folder or Path(tempfile.mkdtemp(prefix="eventbox-chaos-"))
    console.print(f"Chaos for {seconds:g} s, seed {seed}, in {place}", highlight=False)
    state = State()
    display = Display(state, seconds)
    live = Live(display, console=console, refresh_per_second=4) if console.is_terminal else nullcontext()
    began = time.monotonic()
    with live:
        asyncio.run(run(Plan(seconds, seed, small, mistake, only), place, state))
    console.print(closing_table(state, time.monotonic() - began))
    for violation in state.violations:
        console.print(f"BROKEN  {violation}", markup=False, highlight=False, soft_wrap=True)
    if state.violations:
        console.print(
            f"Look into {place}: journals/, a log of each process, the emulators' data.", soft_wrap=True
        )
        sys.exit(1)
    if folder is None:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
