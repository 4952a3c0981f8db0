"""The listeners that there are, by name: registered by code, or by installed packages.

A package registers one by an entry point of the group `eventbox.listeners`:

    [project.entry-points."eventbox.listeners"]
    deposits = "my_package.deposits:listen"
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from eventbox.sources.errors import ListenerError
from eventbox.sources.listener import ListenFunc, listener_name

GROUP = "eventbox.listeners"


class ListenerRegistry:
    """A registry of its own; the functions of this module are those of the process's one."""

    def __init__(self) -> None:
        self._listeners: dict[str, ListenFunc] = {}
        self._loaded: set[EntryPoint] = set()

    def register(self, name: str, listen: ListenFunc) -> None:
        """See `register_listener`."""
        key = listener_name(name)
        if not callable(listen):
            raise TypeError(
                f"listener {name!r} must be an asynchronous function, not {type(listen).__name__}"
            )
        if key in self._listeners:
            raise ValueError(f"a listener {key!r} is registered already")
        self._listeners[key] = listen

    def registered(self) -> Mapping[str, ListenFunc]:
        """See `registered_listeners`."""
        return MappingProxyType(dict(self._listeners))

    def get(self, name: str) -> ListenFunc | None:
        """See `get_listener`."""
        return self._listeners.get(listener_name(name))

    def load(self) -> None:
        """See `load_listeners`."""
        for entry_point in entry_points(group=GROUP):
            if entry_point in self._loaded:
                continue
            try:
                listen = entry_point.load()
            except Exception as error:
                raise ListenerError(
                    entry_point.name, f"{entry_point.value} could not be loaded: {error!r}"
                ) from error
            self.register(entry_point.name, listen)
            self._loaded.add(entry_point)


_registry = ListenerRegistry()


def register_listener(name: str, listen: ListenFunc) -> None:
    """Register a listener in this process.

    Args:
        name: 1 to 256 bytes of UTF-8 without white space; upper and lower case are the same.
        listen: is called with the `Service` and a `ListenerStore` of its own.

    Raises:
        TypeError, ValueError: it is no name or no function, or the name is taken.
    """
    _registry.register(name, listen)


def registered_listeners() -> Mapping[str, ListenFunc]:
    """The listeners that are registered now, by their names in lower case."""
    return _registry.registered()


def get_listener(name: str) -> ListenFunc | None:
    """The listener of this name, in whatever case; None if there is none."""
    return _registry.get(name)


def load_listeners() -> None:
    """Register the listeners of all installed packages, each once.

    Raises:
        ListenerError: one could not be loaded.
        ValueError: a name is taken.
    """
    _registry.load()
