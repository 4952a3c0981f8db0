"""What a load costs a day on Google's services, and which limits it meets: `python -m benchmarks.pricing [--json]`.

Nothing is measured: it is a formula over the cost table, with the prices as inputs. docs/scaling.md explains it.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from benchmarks.daily_bill import DAY, Load, Prices, day
from benchmarks.service_limits import limits

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"


def bill(load: Load, prices: Prices) -> str:
    """A day's bill, as a table in Markdown."""
    lines = ["| a day | amount | USD |", "|---|---:|---:|"]
    found = day(load, prices)
    lines += [f"| {one.what} | {_amount(one.amount)} | {_usd(one.usd)} |" for one in found]
    total = sum(one.usd for one in found)
    lines.append(f"| **all** | | **{_usd(total)}** |")
    return "\n".join(lines)


def scenarios(loads: dict[str, Load], prices: Prices) -> str:
    """What each of these costs, as a table in Markdown."""
    lines = [
        "| | events a batch | batches/s | Firestore | Cloud Tasks | Cloud Run | USD a day | USD a million events |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, load in loads.items():
        found = day(load, prices)
        by = {service: sum(one.usd for one in found if one.what.startswith(service)) for service in _SERVICES}
        total = sum(by.values())
        cells = [_usd(by[service]) for service in _SERVICES]
        per_million = total / (load.events_per_s * DAY / 1e6)
        lines.append(
            f"| {name} | {load.events_per_batch:,.2f} | {load.batches_per_s:,.0f} | {' | '.join(cells)} | "
            f"{_usd(total)} | {per_million:.2f} |"
        )
    return "\n".join(lines)


_SERVICES = ("Firestore", "Cloud Tasks", "Cloud Run")

SCENARIOS = {
    "`send`, all recipients alike": Load(),
    "`send`, one recipient in ten is active": Load(active=0.1),
    "`send`, one in a hundred": Load(active=0.01),
    "`send`, one in a thousand": Load(active=0.001),
    "`emit`, then `notify` for the next second": Load(reminders=False),
    "`emit`, then `notify` for the next full minute": Load(reminders=False, gathering_s=60),
    "`emit`, then `notify` for the next ten minutes": Load(reminders=False, gathering_s=600),
}
"""What docs/scaling.md compares: a million recipients, 10,000 events a second."""


def met(load: Load) -> str:
    """The limits, as a table in Markdown."""
    lines = ["| | used | documented | used / documented | what to do |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| {one.what} | {_amount(one.used)} | {_amount(one.allowed)} | {one.share:.2g} | {one.remedy} |"
        for one in limits(load)
    ]
    return "\n".join(lines)


def rewrite(text: str) -> str:
    """The text of docs/scaling.md, its tables between `<!-- pricing: NAME -->` and `<!-- end -->` made anew."""
    tables = {
        "bill": lambda: bill(Load(), Prices()),
        "scenarios": lambda: scenarios(SCENARIOS, Prices()),
        "limits": lambda: met(Load()),
    }

    def table(found: re.Match[str]) -> str:
        return f"{found[1]}\n{tables[found[2]]()}\n\n<!-- end -->"

    return re.sub(r"(<!-- pricing: (\w+) -->\n).*?<!-- end -->", table, text, flags=re.DOTALL)


def _amount(number: float) -> str:
    for unit, name in ((1e9, "billion"), (1e6, "million")):
        if number >= unit:
            return f"{number / unit:,.3g} {name}"
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _usd(usd: float) -> str:
    """With cents where they count."""
    return f"{usd:,.0f}" if usd >= 10 else f"{usd:.2f}"


def _options(of: type) -> Any:
    """An option of the command for each field of a dataclass, with its default."""

    def add(command: Any) -> Any:
        for field in reversed(fields(of)):
            name = field.name.replace("_", "-")
            switch = isinstance(field.default, bool)
            command = click.option(
                f"--{name}/--no-{name}" if switch else f"--{name}", default=field.default, show_default=True
            )(command)
        return command

    return add


@click.command()
@_options(Load)
@_options(Prices)
@click.option("--write", is_flag=True, help="Make the tables of docs/scaling.md anew, of its own loads.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
def main(as_json: bool, write: bool, **given: Any) -> None:
    """Print what a load costs a day, and which limits it meets, with your numbers and prices (USD)."""
    if write:
        PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return
    try:
        load = Load(**{field.name: given[field.name] for field in fields(Load)})
        prices = Prices(**{field.name: given[field.name] for field in fields(Prices)})
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not as_json:
        click.echo(
            f"{load.events_per_batch:,.2f} events a batch, {load.batches_per_s:,.0f} batches a second.\n\n"
            f"{bill(load, prices)}\n\n{met(load)}"
        )
        return
    found = {
        "events_per_batch": load.events_per_batch,
        "batches_per_s": load.batches_per_s,
        "day": [{"what": one.what, "amount": one.amount, "usd": one.usd} for one in day(load, prices)],
        "limits": [
            {"what": one.what, "used": one.used, "allowed": one.allowed, "remedy": one.remedy}
            for one in limits(load)
        ],
    }
    json.dump(found, sys.stdout)
    click.echo()


if __name__ == "__main__":
    main()
