"""What `eventbox dev` runs is found by its name, or it is said why not."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventbox.dev.target import Target, TargetError

MODULE = """
class App:
    async def __call__(self, scope, receive, send): ...

async def plain(scope, receive, send): ...
def factory(): ...
app, number, shelf = App(), 17, type("Shelf", (), {"app": App()})
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules can be imported, until the test ends."""
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    before = set(sys.modules)
    (tmp_path / "shop_of_tests").mkdir()
    (tmp_path / "shop_of_tests" / "main.py").write_text(MODULE)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("shop_of_tests"):
            del sys.modules[name]


def test_a_target_is_a_module_and_an_attribute() -> None:
    assert Target.parse("orders.app:app") == Target("orders.app", "app")
    assert Target.parse("orders:worker.app") == Target("orders", "worker.app")
    assert str(Target.parse("orders.app:app")) == "orders.app:app"


@pytest.mark.parametrize(
    "text", ["", "orders", "orders:", ":app", "orders:app:x", "or ders:app", "orders..app:app", "a:b c"]
)
def test_what_is_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(TargetError, match="expected MODULE:WORKER"):
        Target.parse(text)


def test_a_file_is_told_from_a_module() -> None:
    with pytest.raises(TargetError, match="a module, not a file"):
        Target.parse("orders/app.py:app")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("attribute", ["app", "plain", "shelf.app"])
def test_an_asgi_application_is_taken(attribute: str) -> None:
    assert callable(Target("shop_of_tests.main", attribute).load())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop_of_tests.nothing:app", "there is no module 'shop_of_tests.nothing'"),
        ("no_such_shop.main:app", "there is no module 'no_such_shop'"),
        ("shop_of_tests.main:worker", "shop_of_tests.main has no 'worker'; it has app"),
        ("shop_of_tests.main:app.worker", "has no 'app.worker'"),
        ("shop_of_tests.main:number", "neither a Worker nor an ASGI application .* it is of type int"),
        ("shop_of_tests.main:factory", "it is of type function"),
        ("shop_of_tests.main:App", "it is the class App"),
    ],
)
def test_what_cannot_be_run_is_told_by_name(target: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Target.parse(target).load()


def test_a_module_that_theirs_wants_is_not_taken_for_theirs(folder: Path) -> None:
    (folder / "shop_of_tests" / "broken.py").write_text("import no_such_shop\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_shop"):
        Target("shop_of_tests.broken", "app").load()


def test_what_a_module_raises_is_raised(folder: Path) -> None:
    (folder / "shop_of_tests" / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        Target("shop_of_tests.broken", "app").load()
