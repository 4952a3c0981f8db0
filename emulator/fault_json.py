"""Faults as JSON, for tests in other languages and processes: the fields of a `Fault`, durations in seconds.

{"rpc": "Commit", "error": "UNAVAILABLE", "when": "after", "times": 3}
{"path": "orders/*", "times": null, "latency": {"distribution": "uniform", "low": 0.01, "high": 0.2}}
{"rpc": "RunQuery", "error": "UNAVAILABLE", "when": "cut", "after_messages": 5, "probability": 0.1}
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from typing import Any, TypeVar

from emulator.fault_latency import Latency
from emulator.faults import AnyFault

F = TypeVar("F", bound=AnyFault)

_DISTRIBUTIONS: dict[str, tuple[Callable[..., Latency], tuple[str, ...]]] = {
    "uniform": (Latency.uniform, ("low", "high")),
    "exponential": (Latency.exponential, ("mean",)),
    "lognormal": (Latency.lognormal, ("median", "sigma")),
}


def fault_from_json(content: Any, fault_class: type[F]) -> F:
    """The fault, which is one of an emulator's own class.

    Raises:
        ValueError: it is none; the message says what is wrong about it.
    """
    names = _fields(fault_class)
    if not isinstance(content, dict):
        raise ValueError(f"a fault must be an object with some of {', '.join(names)}, not {content!r}")
    for name in content:
        if name not in names:
            raise ValueError(f"a fault has no {name!r}; it has {', '.join(names)}")
    arguments = dict(content)
    if "latency" in arguments:
        arguments["latency"] = _latency(arguments["latency"])
    try:
        return fault_class(**arguments)
    except TypeError as error:
        raise ValueError(str(error)) from error


def fault_to_json(fault: AnyFault) -> dict[str, Any]:
    """The object that `fault_from_json` takes."""
    content = {name: getattr(fault, name) for name in _fields(type(fault))}
    latency = fault.latency
    if isinstance(latency, Latency):
        content["latency"] = {"distribution": latency.distribution, **latency.parameters}
    else:
        content["latency"] = latency.total_seconds()
    return content


def seconds(name: str, number: Any) -> timedelta:
    """The duration of so many seconds.

    Raises:
        ValueError: it is no number, negative, or beyond what a timedelta holds.
    """
    if (
        isinstance(number, bool)
        or not isinstance(number, int | float)
        or not math.isfinite(number)
        or number < 0
    ):
        raise ValueError(f"{name} must be a number of seconds that is not negative, not {number!r}")
    try:
        return timedelta(seconds=number)
    except OverflowError:
        raise ValueError(f"{name} must be a duration of some use, not {number!r} seconds") from None


def _fields(fault_class: Any) -> list[str]:
    return [field.name for field in fields(fault_class)]


def _latency(content: Any) -> timedelta | Latency:
    if not isinstance(content, dict):
        return seconds("latency", content)
    distribution = content.get("distribution")
    if not isinstance(distribution, str) or distribution not in _DISTRIBUTIONS:
        raise ValueError(
            f"latency must have a distribution: one of {', '.join(_DISTRIBUTIONS)}, not {distribution!r}"
        )
    make, parameters = _DISTRIBUTIONS[distribution]
    if set(content) != {"distribution", *parameters}:
        raise ValueError(f"a latency that is {distribution} has {' and '.join(parameters)}, not {content!r}")
    arguments = [
        content[name] if name == "sigma" else seconds(f"latency.{name}", content[name]) for name in parameters
    ]
    try:
        return make(*arguments)
    except TypeError as error:
        raise ValueError(str(error)) from error
