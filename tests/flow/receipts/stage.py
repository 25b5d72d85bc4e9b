"""What the tests of this folder share: receipts, read as docs/fair.md says, and what a round then shows of them."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from clock.channels.webhooks import Signatures
from clock.fair.notes import signers_of, verifier_of, verify
from clock.fair.statements import Closed, parse
from clock.fair.trees import root_above
from tests.conftest import DAY, STATEMENT_KEY, WEBHOOK_SECRET, Api

KEY = signers_of(STATEMENT_KEY)[0].verifier
TREES = {"stake": "stakes", "checked_in": "checked_in"}


class Receipt(msgspec.Struct, forbid_unknown_fields=True):
    leaf: str
    index: int
    size: int
    path: list[str]
    note: str

    @property
    def values(self) -> list[str]:
        """Of the leaf: round, shard, rank or uid, …, salt."""
        return self.leaf.split("\n")[1:-1]

    @property
    def salt(self) -> str:
        return self.values[-1]


def promised(kind: str, given: Any, day: Any = DAY) -> Receipt:
    """The receipt, whose note is the key's and has the root to which its leaf leads."""
    receipt = msgspec.convert(given, Receipt)
    text, _ = verify(receipt.note, [KEY])
    names = [line.partition(": ")[0] for line in text.split("\n")]
    assert names == [f"clock.receipts.v1/{kind}", "origin", "round", "signed_ms", "leaves", ""]
    said = dict(line.split(": ") for line in text.split("\n")[1:-1])
    assert (said["origin"], said["round"], said["signed_ms"].isdecimal()) == (KEY.name, str(day), True)
    size, root = said["leaves"].split(" ")
    assert int(size) == receipt.size
    path = [bytes.fromhex(one) for one in receipt.path]
    found = root_above(receipt.leaf.encode(), receipt.index, receipt.size, path)
    assert found is not None and base64.b64encode(found).decode() == root
    assert receipt.leaf.startswith(f"clock/leaf/v1 {kind}\n{day}\n")
    return receipt


async def proof(api: Api, kind: str, uid: int, salt: str) -> dict[str, Any]:
    """What whoever knows the salt is answered, without a token."""
    status, reply = await api.send("GET", f"/api/rounds/{DAY}/proof/{kind}?uid={uid}&salt={salt}")
    assert status == 200, reply
    return reply


async def is_kept(api: Api, kind: str, uid: int, receipt: Receipt) -> bool:
    """Whether the leaf of the receipt is in the tree of the signed C, at the place of its shard and rank."""
    _, reply = await api.send("GET", f"/api/rounds/{DAY}/proof")
    text, _ = verify(reply["data"]["statements"]["closed"], [verifier_of(key) for key in reply["data"]["keys"]])
    closed = parse(text)
    assert isinstance(closed, Closed)
    said = (await proof(api, kind, uid, receipt.salt))["data"]
    if said.get("leaf") != receipt.leaf:
        return False
    tree = getattr(closed, TREES[kind])
    path = [bytes.fromhex(one) for one in said["path"]]
    assert root_above(receipt.leaf.encode(), said["index"], tree.size, path) == tree.root
    if kind == "checked_in":
        shard, rank = map(int, receipt.values[1:3])
        assert said["index"] == sum(winners for _, winners in closed.shards[:shard]) + rank - 1
    return True


async def member(api: Api, uid: int) -> Receipt:
    """Joins and pays; the receipt of the stake."""
    number = (await api.join(uid))["data"]["order_no"]
    reply = await callback(api, number, uid)
    assert reply["code"] == "paid", reply
    return promised("stake", reply["data"]["receipt"])


async def callback(api: Api, number: str, uid: int, query: str = "?receipt=1", **changes: Any) -> dict[str, Any]:
    extra = {"amount": 100, "buyerId": f"open-{uid}", "transactionId": f"T{number}", **changes}
    raw = msgspec.json.encode({"order_no": number, "extra": extra})
    headers = Signatures(WEBHOOK_SECRET).sign(raw)
    _, reply = await api.send("POST", f"/callbacks/platform{query}", raw, headers)
    return reply


async def tap(api: Api, uid: int, *, plain: bool = True) -> dict[str, Any]:
    """Checks in and wants a receipt. A request that does not tell its length goes through ASGI."""
    body = msgspec.json.encode({"uid": uid, "receipt": True})

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    async with api.session.post(
        f"{api.url}/api/check-in", data=body if plain else pieces(), headers=api.token(uid)
    ) as reply:
        return msgspec.json.decode(await reply.read(), type=dict[str, Any])
