"""`LogEvent`: a typed event that is logged as JSON."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ValidationError

from eventbox.log.entry import EventPersistence, LogEntry, NewLogEntry, check_name

_OURS = ("kind", "module", "persistence")


class LogEvent(BaseModel):
    """A pydantic model with a kind, to be appended to a log and read back from it.

        class PaymentReceived(LogEvent):
            kind = "payment-received"
            module = "ledger"
            persistence = EventPersistence.TRIMABLE

            amount: int

    `kind`, `module` (the kind of the module that it is from, or None) and `persistence` are attributes of the class,
    not of each event; a subclass that annotates them writes `ClassVar`.
    """

    kind: ClassVar[str]
    module: ClassVar[str | None] = None
    persistence: ClassVar[EventPersistence] = EventPersistence.PERSISTENT

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Check what the subclass says of its events.

        Raises:
            TypeError, ValueError: it says something that cannot be.
        """
        super().__pydantic_init_subclass__(**kwargs)
        for name in _OURS:
            if name in cls.model_fields:
                raise TypeError(
                    f"{cls.__name__}.{name} belongs to the class: write {name} = ..., or annotate it with ClassVar"
                )
        if hasattr(cls, "kind"):
            check_name(cls.kind, f"{cls.__name__}.kind")
        if cls.module is not None:
            check_name(cls.module, f"{cls.__name__}.module")
        if not isinstance(cls.persistence, EventPersistence):
            raise TypeError(f"{cls.__name__}.persistence must be an EventPersistence")

    @classmethod
    def from_entry(cls, entry: LogEntry) -> Self | None:
        """The event of an entry; None where kind or module are others, or the payload does not fit this model.

        Raises:
            TypeError: this class has no kind.
        """
        _check_has_kind(cls)
        module = None if entry.module is None else entry.module[0]
        if entry.kind != cls.kind or module != cls.module:
            return None
        try:
            return cls.model_validate_json(entry.payload)
        except ValidationError:
            return None


def _check_has_kind(event_type: type[LogEvent]) -> None:
    if not hasattr(event_type, "kind"):
        raise TypeError(f'{event_type.__name__} has no kind: write kind = "..." in the class')


def to_entry(event: LogEvent, module_id: int | None, entry_id: str | None) -> NewLogEntry:
    """The entry to append for an event.

    Raises:
        TypeError, ValueError: its type has no kind, or just one of the module's kind and ID is there.
    """
    if not isinstance(event, LogEvent):
        raise TypeError(f"event must be a LogEvent, not {type(event).__name__}")
    name = type(event).__name__
    _check_has_kind(type(event))
    if module_id is None and event.module is not None:
        raise ValueError(
            f"a {name} is from a module of kind {event.module!r}: module_id= must say from which of these"
        )
    module: tuple[str, int] | None = None
    if module_id is not None:
        if event.module is None:
            raise ValueError(f"{name} names no module, so there is no module_id for it")
        module = (event.module, module_id)
    return NewLogEntry(
        event.kind,
        event.model_dump_json(by_alias=True).encode(),
        module=module,
        persistence=event.persistence,
        id=entry_id,
    )
