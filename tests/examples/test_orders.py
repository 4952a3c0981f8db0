"""The shop, end to end over HTTP: both emulators, the app under uvicorn, customers, a payment provider, and kill -9."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from emulator.process import EmulatorProcess
from emulator.tasks.process import TasksEmulatorProcess
from eventbox.dev.environment import Environment
from eventbox.dev.queues import UNLIMITED, create_queues
from tests.served_app import ServedApp, free_port, until

ORDERS = Path(__file__).parents[2] / "examples" / "orders"
SECRET = b"of the tests"
SOON, NEVER = timedelta(seconds=3), timedelta(hours=1)
"""When an order that nobody pays is cancelled."""

ENDS = ("paid", "cancelled", "refund due")


class Shop:
    """The app, and those who call it: they try again until they get an answer."""

    def __init__(self, app: ServedApp, environment: Environment, session: aiohttp.ClientSession) -> None:
        self.app = app
        self.environment = environment
        self._session = session

    async def place(self, order: str, total: int) -> Any:
        return await self._insist(
            "PUT", f"/orders/{order}", {"email": f"{order}@example.com", "total": total}
        )

    async def pay(self, order: str, amount: int, delivery: str, secret: bytes = SECRET) -> Any:
        payment = {"delivery_id": delivery, "order_id": order, "amount": amount}
        return await self._insist("POST", "/webhooks/payment", payment, secret)

    async def order(self, order: str) -> Any:
        return await self._insist("GET", f"/orders/{order}")

    async def status(self, order: str) -> str | None:
        found = await self.order(order)
        return found.get("status") if isinstance(found, dict) else None

    async def sweep(self) -> None:
        """Ask for a sweep as a task, as Cloud Scheduler would."""
        from google.cloud import tasks_v2
        from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
        from grpc import aio

        async with aio.insecure_channel(self.environment.tasks) as channel:
            client = tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))
            token = tasks_v2.OidcToken(
                service_account_email=self.environment.service_account, audience=self.environment.target
            )
            request = tasks_v2.HttpRequest(url=f"{self.environment.target}/eventbox/sweep", oidc_token=token)
            await client.create_task(
                parent=self.environment.queue_name, task=tasks_v2.Task(http_request=request)
            )

    def letters(self) -> dict[str, set[str]]:
        """The subjects of the letters that were sent, by orders, each with the name of its task."""
        found = defaultdict(set)
        for record in self.app.records():
            if sent := re.fullmatch(r"sent (\S+): (\S+) to \S+: (.+)", str(record.get("message"))):
                name, order, subject = sent.groups()
                found[order].add(f"{name} {subject}")
        return found

    async def _insist(self, method: str, path: str, body: Any = None, secret: bytes = SECRET) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Signature": hmac.new(secret, data, hashlib.sha256).hexdigest(),
        }
        while True:
            try:
                async with self._session.request(
                    method, self.app.url + path, data=data or None, headers=headers
                ) as response:
                    if response.status < 500:
                        return await response.json() if response.status < 300 else response.status
            except aiohttp.ClientError:  # it is dead, or died over this
                pass
            await asyncio.sleep(0.05)


@pytest.fixture
def payment_time() -> timedelta:
    return SOON


@pytest.fixture
async def shop(tmp_path: Path, payment_time: timedelta) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        firestore = await stack.enter_async_context(EmulatorProcess())
        tasks = await stack.enter_async_context(TasksEmulatorProcess())
        port = free_port()
        environment = Environment(
            project="demo-orders", queue="orders", target=f"http://127.0.0.1:{port}",
            firestore=firestore.address, tasks=tasks.address, certs_url=tasks.certs_url,
        )  # fmt: skip
        await create_queues(
            tasks.address,
            {environment.queue_name: UNLIMITED},
            min_backoff=timedelta(milliseconds=100),
            max_backoff=timedelta(seconds=1),
        )
        variables = {
            **environment.variables(),
            "PORT": str(port),
            "ORDERS_WEBHOOK_SECRET": SECRET.decode(),
            "ORDERS_PAYMENT_SECONDS": str(payment_time.total_seconds()),
        }
        app = ServedApp("orders.app:app", ORDERS, variables, tmp_path / "app.log")
        session = await stack.enter_async_context(aiohttp.ClientSession())
        await app.start()
        stack.push_async_callback(app.kill)
        yield Shop(app, environment, session)


@pytest.mark.parametrize("payment_time", [NEVER])
async def test_an_order_is_placed_and_paid_and_its_customer_is_told_once(shop: Shop) -> None:
    assert await shop.order("a") == 404
    assert await shop.place("a", 2_000) == {"accepted": True, "again": False}
    assert await shop.place("a", 2_000) == {"accepted": True, "again": True}
    assert await shop.pay("a", 2_000, "d-1", secret=b"forged") == 401
    assert await shop.pay("a", -1, "d-1") == 422
    assert (await shop.pay("a", 500, "d-1"))["again"] is False
    assert (await shop.pay("a", 500, "d-1"))["again"] is True
    assert (await shop.pay("a", 1_500, "d-2"))["again"] is False

    async def paid() -> bool:
        return await shop.order("a") == {"status": "paid", "total": 2_000, "paid": 2_000}

    async def told() -> bool:
        return bool(shop.letters()["a"])

    await until(paid)
    await until(told)
    assert [letter.split(" ", 1)[1] for letter in shop.letters()["a"]] == [
        "Thank you: your order is on its way"
    ]
    assert await shop.app.stop() in (0, -15)


async def test_an_order_that_is_not_paid_is_cancelled_and_late_money_goes_back(shop: Shop) -> None:
    await shop.place("a", 2_000)
    await shop.pay("a", 1_999, "d-1")

    async def is_over() -> bool:
        return await shop.status("a") == "refund due"

    await until(is_over)
    await shop.place("b", 2_000)

    async def is_cancelled() -> bool:
        return await shop.status("b") == "cancelled"

    await until(is_cancelled)
    await shop.pay("b", 2_000, "d-2")

    async def is_to_be_refunded() -> bool:
        return await shop.order("b") == {"status": "refund due", "total": 2_000, "paid": 2_000}

    await until(is_to_be_refunded)


async def test_nobody_calls_the_worker_without_a_token(shop: Shop) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/eventbox/wake", "/eventbox/sweep", "/tasks/mail"):
            async with session.post(shop.app.url + path, json={}) as response:
                assert response.status == 401, path


@pytest.mark.timeout(240)
async def test_each_order_is_right_exactly_once_whenever_the_app_is_killed(shop: Shop) -> None:
    orders = {f"order-{n}": 100 * (n + 1) for n in range(24)}
    kept = [order for n, order in enumerate(orders) if n % 3]  # every third is never paid
    paid = {order: total if order in kept else 0 for order, total in orders.items()}

    async def customer(order: str) -> None:
        await shop.place(order, orders[order])
        if order in kept:
            for delivery in ("d-1", "d-1", "d-2", "d-1"):  # half of it each, and again
                await shop.pay(order, orders[order] // 2, f"{order} {delivery}")

    async def killer() -> None:
        for _ in range(4):
            await asyncio.sleep(random.uniform(0.05, 0.7))
            await shop.app.kill()
            await shop.app.start()

    async with asyncio.TaskGroup() as group:
        group.create_task(killer())
        for order in orders:
            group.create_task(customer(order))

    async def settled() -> bool:
        await shop.sweep()
        found = [await shop.order(order) for order in orders]
        # the last payment may come in behind the cancellation
        return all(
            isinstance(one, dict) and one["status"] in ENDS and one["paid"] >= expected
            for one, expected in zip(found, paid.values(), strict=True)
        )

    async def told() -> bool:
        await shop.sweep()
        return all(letters_of(order) for order in orders)

    def letters_of(order: str) -> set[str]:
        return shop.letters()[order]

    await until(settled, seconds=100, what="the end of each order")
    # a reminder whose process died is the sweeper's after a minute
    await until(told, seconds=100, what="a letter for each order")
    for order in orders:
        found = await shop.order(order)
        assert found["paid"] == paid[order], order
        if order not in kept:
            assert found["status"] == "cancelled"
        # one task each: if it ran twice, then under one name
        subjects = [letter.split(" ", 1)[1] for letter in letters_of(order)]
        assert len(subjects) == len(set(subjects)), subjects
