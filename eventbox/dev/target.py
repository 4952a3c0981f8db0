"""What is to be run: an attribute of a module, found and checked."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from eventbox.tasks import Worker

AsgiApp: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]


class TargetError(Exception):
    """There is no such thing to run; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """`module:attribute`, as in `orders.app:app`; the attribute may have dots."""

    module: str
    attribute: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target of a text.

        Raises:
            TargetError: it is not written so.
        """
        module, _, attribute = text.partition(":")
        if not _dotted(module) or not _dotted(attribute):
            hint = ""
            if module.endswith(".py") or "/" in module:
                hint = "; a module, not a file: its folders and name joined by dots, without .py"
            raise TargetError(f"expected MODULE:WORKER such as orders.worker:worker, not {text!r}{hint}")
        return cls(module, attribute)

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"

    def load(self) -> AsgiApp:
        """The ASGI application: the attribute itself, or that of a `Worker`.

        Raises:
            TargetError: there is no such module or attribute, or it is neither.
            Exception: whatever the module raises when it is imported.
        """
        try:
            found: Any = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            # a module that theirs wants and that is missing is another story: its traceback tells
            if error.name is None or not f"{self.module}.".startswith(f"{error.name}."):
                raise
            raise TargetError(
                f"there is no module {error.name!r} in {Path.cwd()}, nor among the installed ones"
            ) from error
        for name in self.attribute.split("."):
            try:
                found = getattr(found, name)
            except AttributeError as error:
                raise TargetError(f"{self.module} has no {self.attribute!r}{_instead(found)}") from error
        return _app_of(found, str(self))


def _app_of(found: Any, name: str) -> AsgiApp:
    app: Any = found.app if isinstance(found, Worker) else found
    if inspect.isclass(app) or not callable(app) or not _takes_three(app):
        raise TargetError(
            f"{name} is neither a Worker nor an ASGI application (such as FastAPI's): it is {_kind(found)}"
        )
    checked: AsgiApp = app
    return checked


def _takes_three(app: Any) -> bool:
    """Whether it can be called as `app(scope, receive, send)`."""
    try:
        inspect.signature(app).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:  # a callable without a signature
        return True
    return True


def _kind(found: Any) -> str:
    return f"the class {found.__name__}" if inspect.isclass(found) else f"of type {type(found).__name__}"


def _instead(module: Any) -> str:
    """Which workers and applications it has instead."""
    names = [name for name, value in vars(module).items() if isinstance(value, Worker) or name == "app"]
    return f"; it has {' and '.join(sorted(names))}" if names else ""


def _dotted(text: str) -> bool:
    return bool(text) and all(part.isidentifier() for part in text.split("."))
