"""Callbacks, signed as the specification says, and what became of them."""

import base64
import hashlib
import hmac
import time
from typing import Any

import msgspec

from clock.books import outbox
from clock.game import keys
from tests.conftest import DAY, WEBHOOK_SECRET, Api
from tests.raw import Redis

UID = 7
OLD_SECRET = "whsec_" + base64.b64encode(b"the secret before the rotation..").decode()
STRANGERS_SECRET = "whsec_" + base64.b64encode(b"a secret that nobody was given..").decode()


def signature(raw: bytes, message_id: str, timestamp: str, secret: str = WEBHOOK_SECRET) -> str:
    """As the Standard Webhooks specification says, without its library."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + raw, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def signed(raw: bytes, secret: str = WEBHOOK_SECRET, age_seconds: int = 0) -> dict[str, str]:
    timestamp = str(int(time.time()) - age_seconds)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(raw, "msg_1", timestamp, secret),
    }


def callback(order_no: str, **changes: Any) -> bytes:
    """A successful payment of user 7; ``changes`` to its ``extra``, ``None`` to leave a field out."""
    extra = {
        "amount": 100,
        "buyerId": f"open-{UID}",
        "notify_time": "2026-11-22 20:00:00",
        "content": "stake",
        "nickname": "seven",
        "mobile": "13800000007",
        "transactionId": f"T{order_no}",
        **changes,
    }
    given = {name: value for name, value in extra.items() if value is not None}
    return msgspec.json.encode({"order_no": order_no, "extra": given})


async def send(api: Api, raw: bytes, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and code; signed well unless ``headers`` are given."""
    status, reply = await api.send("POST", "/callbacks/platform", raw, signed(raw) if headers is None else headers)
    return status, str(reply["code"])


async def order(api: Api, uid: int = UID) -> str:
    return str((await api.join(uid))["data"]["order_no"])


async def totals(redis: Redis) -> tuple[int, int]:
    """Members and pool of the round."""
    values = await redis.hmget(keys.name(DAY, 0, "totals"), ["members", "pool_fen"])
    return int(values[0] or 0), int(values[1] or 0)


async def quarantine(api: Api) -> list[dict[str, Any]]:
    """What the operator sees, once the outbox is in the books."""
    for day in (DAY, DAY.replace(day=DAY.day + 1)):
        await outbox.drain(api.service.store, api.service.redis, day, 0)
    status, reply = await api.send("GET", "/ops/quarantine", headers=api.token(99, "operator"))
    assert (status, reply["code"]) == (200, "ok")
    assert reply["data"]["total"] == len(reply["data"]["items"])
    return list(reply["data"]["items"])
