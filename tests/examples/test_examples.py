"""What the README and the guide show does what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python_blocks(page: str) -> list[str]:
    """The Python examples of a page, as they stand there."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def run(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readmes_example_is_the_one_in_the_folder() -> None:
    assert python_blocks("README.md")[0] == (ROOT / "examples" / "quickstart.py").read_text()


def test_the_quick_start_pays_each_delivery_once() -> None:
    output = run(ROOT / "examples" / "quickstart.py")
    assert "Receipt(id='a', duplicate=True)" in output
    assert "'paid': 40" in output


def test_the_payments_are_counted_joined_and_drawn() -> None:
    output = run(ROOT / "examples" / "payments.py")
    assert "'payment-started': 300" in output
    succeeded, failed = re.search(r"succeeded: (\d+)", output), re.search(r"failed: (\d+)", output)
    assert succeeded is not None
    assert failed is not None
    assert int(succeeded[1]) + int(failed[1]) == 300
    assert "█" in output


def test_a_worker_in_ten_minutes_is_made_of_the_lines_of_its_file() -> None:
    lines = set((ROOT / "examples" / "counters.py").read_text().splitlines())
    fragments = python_blocks("examples/orders/README.md")
    assert len(fragments) == 4
    for fragment in fragments:
        assert set(fragment.splitlines()) <= lines


@pytest.mark.parametrize(
    "page", ["docs/guide.md", "docs/emulator.md", "docs/log.md", "docs/sources.md", "docs/testing.md"]
)
def test_the_programs_of_a_page_run(page: str, tmp_path: Path) -> None:
    programs = [block for block in python_blocks(page) if "asyncio.run(" in block]
    assert programs
    for n, program in enumerate(programs):
        path = tmp_path / f"program{n}.py"
        path.write_text(program)
        run(path)


def test_the_links_of_the_pages_lead_somewhere() -> None:
    for page in [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "examples").rglob("README.md"),
    ]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
