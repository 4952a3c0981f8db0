"""How the app's process tells why it ended."""

from __future__ import annotations

NO_TARGET = 64
"""There is no such module or attribute, or it is no application: the command itself is wrong."""

NOT_STARTED = 65
"""The module, or the application's start-up, raised; it was told."""
