"""Whether a call met a fault."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from google.api_core import exceptions


async def fails(call: Awaitable[Any]) -> bool:
    """Whether a call gets PERMISSION_DENIED, which nothing tries again."""
    try:
        await call
    except exceptions.PermissionDenied:
        return True
    return False
