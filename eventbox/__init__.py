"""A durable, transactional inbox for every entity of a Google Cloud Firestore application.

    from eventbox import DocumentProcessor, EventBox, Mutation, Recipient, Transition

`EventBox` emits events to recipients and runs their batches; a `DocumentProcessor` decides what a batch does.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventbox.public import *  # noqa: F403
    from eventbox.public import __all__ as __all__


def __getattr__(name: str) -> Any:
    # What google's clients import takes half a second; the command line is to answer, and to be interrupted, before.
    if find_spec(f"eventbox.{name}") is not None:
        # `from eventbox import box`: the module is about to be imported, perhaps by one that `public` is importing
        raise AttributeError(f"the module eventbox.{name} has not been imported")
    public = import_module("eventbox.public")
    if name == "__all__" or name in public.__all__:
        value = globals()[name] = getattr(public, name)
        return value
    raise AttributeError(f"module 'eventbox' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("eventbox.public").__all__})
