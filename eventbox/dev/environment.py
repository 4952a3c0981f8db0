"""The environment that a worker finds: here it names the emulators, on Cloud Run the real services."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOCATION = "us-central1"
_FILE = "env"


@dataclass(frozen=True, slots=True)
class Environment:
    """Where everything is."""

    project: str
    queue: str
    target: str
    firestore: str
    tasks: str
    certs_url: str

    @property
    def service_account(self) -> str:
        """As whom the emulator of Cloud Tasks calls the worker, in tokens that it signs."""
        return f"eventbox-dev@{self.project}.iam.gserviceaccount.com"

    @property
    def queue_name(self) -> str:
        """The queue's full name."""
        return f"projects/{self.project}/locations/{LOCATION}/queues/{self.queue}"

    @property
    def sweep_queue_name(self) -> str:
        """The full name of the queue on which sweeps are asked for, in place of Cloud Scheduler."""
        return f"projects/{self.project}/locations/{LOCATION}/queues/eventbox-dev-sweep"

    def variables(self) -> Mapping[str, str]:
        """The variables that google's clients, and a worker, read."""
        return {
            "FIRESTORE_EMULATOR_HOST": self.firestore,
            "CLOUD_TASKS_EMULATOR_HOST": self.tasks,
            "GOOGLE_CLOUD_PROJECT": self.project,
            "EVENTBOX_QUEUE": self.queue_name,
            "EVENTBOX_TARGET": self.target,
            "EVENTBOX_SERVICE_ACCOUNT": self.service_account,
            "EVENTBOX_CERTS_URL": self.certs_url,
        }

    def write(self, folder: Path) -> Path:
        """Put them into a file that another shell can `source`; the file."""
        file = folder / _FILE
        lines = (f"export {name}={shlex.quote(value)}\n" for name, value in self.variables().items())
        file.write_text("".join(lines))
        return file
