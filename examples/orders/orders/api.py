"""What customers and the payment provider call. A service of its own runs `orders.api:app`."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Path, Request
from pydantic import BaseModel, Field, ValidationError

from eventbox import Recipient
from orders.events import Paid, Placed, encode
from orders.worker import client, queue, settings, worker

ORDER_ID = r"^[A-Za-z0-9-]{1,64}$"

app = FastAPI(title="Orders", lifespan=worker.lifespan)


class NewOrder(BaseModel):
    """What a customer sends."""

    email: str = Field(max_length=320)
    total: int = Field(gt=0, description="cents")


class Payment(BaseModel):
    """What the payment provider sends."""

    delivery_id: str = Field(min_length=1, max_length=100)
    order_id: str = Field(pattern=ORDER_ID)
    amount: int = Field(gt=0, description="cents")


@app.put("/orders/{order_id}", status_code=202)
async def place(order_id: Annotated[str, Path(pattern=ORDER_ID)], order: NewOrder) -> dict[str, bool]:
    """Place an order. The customer's app chooses the ID, so that trying again places no second one."""
    placed = Placed(email=order.email, total=order.total)
    receipt = await queue.send(encode(placed), recipient(order_id), id="placed")
    return {"accepted": True, "again": bool(receipt.duplicate)}


@app.get("/orders/{order_id}")
async def show(order_id: Annotated[str, Path(pattern=ORDER_ID)]) -> dict[str, Any]:
    """What has become of an order."""
    snapshot = await client.document(f"orders/{order_id}").get()
    found: dict[str, Any] | None = snapshot.to_dict()
    if found is None or found["status"] == "new":
        raise HTTPException(404, "no such order, or it is still on its way")
    return {key: found[key] for key in ("status", "total", "paid")}


@app.post("/webhooks/payment", status_code=202)
async def payment(request: Request, x_signature: Annotated[str, Header()] = "") -> dict[str, bool]:
    """Take note of a payment. The provider calls until it gets an answer; its delivery ID tells calls apart."""
    body = await request.body()
    expected = hmac.new(settings.webhook_secret, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), x_signature.encode()):
        raise HTTPException(401, "X-Signature is not the HMAC-SHA256 of the body")
    try:
        told = Payment.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, str(error)) from error
    paid = encode(Paid(amount=told.amount))
    receipt = await queue.send(paid, recipient(told.order_id), id=f"payment {told.delivery_id}")
    return {"accepted": True, "again": bool(receipt.duplicate)}


def recipient(order_id: str) -> Recipient:
    """The inbox of an order."""
    return Recipient(client.document(f"orders/{order_id}"), "order")
