"""Registers the listener; an installed package would have an entry point of the group `eventbox.listeners` instead."""

from __future__ import annotations

from deposits.listener import listen
from eventbox.sources import register_listener

register_listener("chain", listen)
