"""All in one service: for your machine, and for a start."""

from __future__ import annotations

from orders.api import app
from orders.worker import worker

app.mount("/", worker.app)  # after the API's own routes: it answers for all the others

__all__ = ["app"]
