"""`Mutant`: a mistake in the library, put there at run time, for as long as a block lasts."""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

Change = tuple[Any, str, Any]
"""What to patch: an object, the name of an attribute, and what to put there."""

_MARK = "_mutant_of"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake.

    Attributes:
        workloads: in which it can show: histories of others are not tried.
    """

    name: str
    changes: Callable[[], list[Change]]
    workloads: tuple[str, ...]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The library with this mistake in it."""
        patches = [patch.object(*change) for change in self.changes()]
        for one in patches:
            one.start()
        try:
            yield
        finally:
            for one in reversed(patches):
                one.stop()


def mutant(*workloads: str) -> Callable[[Callable[[], list[Change]]], Callable[[], list[Change]]]:
    """Mark a function as a mutant that can show in these workloads; it is named like the function."""

    def mark(function: Callable[[], list[Change]]) -> Callable[[], list[Change]]:
        setattr(function, _MARK, workloads)
        return function

    return mark


def found_in(*modules: ModuleType) -> dict[str, Mutant]:
    """The mutants of these modules by their names, in order."""
    found = {}
    for module in modules:
        for name, value in vars(module).items():
            workloads = getattr(value, _MARK, None)
            if workloads is not None:
                found[name.replace("_", " ")] = Mutant(name.replace("_", " "), value, workloads)
    return found


def rewritten(owner: Any, name: str, old: str, new: str) -> Change:
    """A function or method with this part of its source replaced.

    Raises:
        LookupError: the part is not in it exactly once: the library has changed, and the mutant has to.
    """
    function = inspect.getattr_static(owner, name)
    wrap: Callable[[Any], Any] = lambda function: function  # noqa: E731
    if isinstance(function, property):
        function, wrap = function.fget, property
    source = textwrap.dedent(inspect.getsource(function)).removeprefix("@property\n")
    if source.count(old) != 1:
        raise LookupError(f"{old!r} is {source.count(old)} times in {name}, and has to be there once")
    module = sys.modules[function.__module__]
    code = compile(
        source.replace(old, new), f"<mutant of {name}>", "exec", flags=__future__.annotations.compiler_flag
    )
    scope: dict[str, Any] = {}
    exec(code, vars(module), scope)
    return owner, name, wrap(scope[function.__name__])
