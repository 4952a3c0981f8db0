"""`python -m orders orders.app:app`: what the image runs, with logs as Cloud Logging reads them."""

from __future__ import annotations

import logging
import os
import sys

import uvicorn

from eventbox.tasks import CloudLoggingFormatter

handler = logging.StreamHandler()
handler.setFormatter(CloudLoggingFormatter())
logging.basicConfig(level=logging.INFO, handlers=[handler])
uvicorn.run(
    sys.argv[1],
    host="0.0.0.0",
    port=int(os.environ.get("PORT", "8080")),
    log_config=None,
    access_log=False,  # Cloud Run has one of its own
    timeout_graceful_shutdown=8,  # s; Cloud Run kills after 10
)
