"""The worker, which Cloud Tasks calls. A service of its own runs `orders.worker:worker.app`."""

from __future__ import annotations

from google.cloud.firestore import AsyncClient

from eventbox import EventBox
from eventbox.tasks import TaskQueue, Worker, tasks_client
from orders.mail import send_letter
from orders.order import OrderProcessor
from orders.settings import Settings

settings = Settings.from_environment()
client = AsyncClient()
box = EventBox(client)
queue = TaskQueue(
    tasks_client(),
    settings.queue,
    target=settings.target,
    service_account=settings.service_account,
    box=box,
)
worker = Worker(box, queue, auth=settings.auth)
worker.recipient(
    "orders/{order_id}",
    lambda recipient, _: OrderProcessor(recipient, queue, settings.payment_time),
    monitoring_string="order",
)
worker.task("/tasks/mail", send_letter)
