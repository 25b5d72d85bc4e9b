"""Where the demo's players pay and get their money: the double of the channel's provider."""

import asyncio
from collections.abc import Collection

import msgspec

from clock.channels import PULLING
from clock.dev.demo_books import Player
from clock.dev.demo_client import Client, DemoError
from clock.runtime.supervise import Urls

TOLD = ("told",)
"""What the doubles of WeChat Pay and Alipay answer to a payment: their notifications' answers have no word of ours."""

ASKED, ASK_AGAIN_SECONDS = 40, 0.5


class Till:
    def __init__(self, client: Client, urls: Urls) -> None:
        self._client = client
        self.is_foreign = urls["channel"] != "platform"
        self.pulls = urls["channel"] in PULLING
        self._url = {
            "platform": urls["platform_url"],
            "wechat": urls["wechat_url"],
            "alipay": urls["alipay_url"].removesuffix("/gateway.do"),
        }[urls["channel"]]

    async def order(self, player: Player) -> None:
        """What the client needs to pay with."""
        reply = await self._client.post("/api/pay", player, ("ok",), order_no=player.order_no)
        player.pay = reply.data["pay"]

    async def pay(
        self, player: Player, amount_fen: int, at_ms: int, expected: Collection[str], again: bool = False
    ) -> None:
        """``again``: the same order, by another transaction. Without it, paying a second time repeats the callback."""
        body = {
            "order_no": player.order_no,
            "amount": amount_fen,
            "buyerId": f"open-{player.uid}",
            "at_ms": at_ms,
            "again": again,
            "pay": player.pay,
        }
        raw = msgspec.json.encode(body)
        await self._client.send("POST", f"{self._url}/pay", raw, {}, TOLD if self.is_foreign else expected)

    async def withdraw(self, player: Player) -> None:
        """The whole balance, and confirm it on the provider's page; a packet below the least stays. While a worker is
        sending it, there is nothing to confirm yet."""
        expected = ("withdrawing", "below_minimum", "nothing_to_withdraw")
        for _ in range(ASKED):
            asked = await self._client.post("/api/withdraw", player, expected)
            if asked.code != "withdrawing":
                return
            withdrawal = asked.data["withdrawal"]
            if "confirm" in withdrawal:
                raw = msgspec.json.encode({"out_bill_no": withdrawal["no"]})
                await self._client.send("POST", f"{self._url}/confirm", raw, {}, ("confirmed",))
                player.withdrawn_fen = withdrawal["amount"]
                return
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        raise DemoError(f"user {player.uid} is not told how to confirm {withdrawal}")
