"""What the environment says: `eventbox dev` sets it on your machine, Terraform on Cloud Run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

from eventbox.tasks import Auth


@dataclass(frozen=True)
class Settings:
    """Where this service is, and what it may trust."""

    queue: str  # projects/P/locations/L/queues/Q
    target: str  # the URL of the worker, also the audience of the tasks' tokens
    service_account: str  # as whom Cloud Tasks calls the worker
    auth: Auth
    webhook_secret: bytes  # shared with the payment provider
    payment_time: timedelta  # an order that is not paid by then is cancelled

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings of this process.

        Raises:
            KeyError: a variable is missing.
        """
        target, service_account = os.environ["EVENTBOX_TARGET"], os.environ["EVENTBOX_SERVICE_ACCOUNT"]
        if os.environ.get("EVENTBOX_AUTH") == "iam":
            auth = Auth.iam()  # a private service on Cloud Run: nobody gets here without `run.invoker`
        else:
            # EVENTBOX_CERTS_URL: the emulator's keys, set by `eventbox dev`; Google's where it is not set
            auth = Auth.verify(target, service_account, certs_url=os.environ.get("EVENTBOX_CERTS_URL"))
        return cls(
            queue=os.environ["EVENTBOX_QUEUE"],
            target=target,
            service_account=service_account,
            auth=auth,
            webhook_secret=_webhook_secret().encode(),
            payment_time=timedelta(seconds=float(os.environ.get("ORDERS_PAYMENT_SECONDS", "1800"))),
        )


def _webhook_secret() -> str:
    if "FIRESTORE_EMULATOR_HOST" in os.environ:
        return os.environ.get("ORDERS_WEBHOOK_SECRET", "only for this machine")
    return os.environ["ORDERS_WEBHOOK_SECRET"]
