"""The channel ``wechat``: WeChat Pay's API v3, called by the merchant itself.

Transfers are a pull: the user confirms each of them within 24 hours on a page of WeChat's, so stakes go back as refunds
and packets through the balance. What cannot be verified is unknown: never done, never failed, and asked about before it
is sent again.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, suppress
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any
from urllib.parse import quote

import msgspec

from clock.channels import (
    MOVEMENTS,
    TAKEN,
    BillLine,
    Ended,
    How,
    NoBill,
    Notice,
    NotYet,
    OrderState,
    Payment,
    PayRefused,
    Purchase,
    Reply,
    Result,
    Silent,
    TooManyCalls,
    Unreadable,
    Wait,
)
from clock.channels.calls import FAULTS, MOST_BILL, Said, pieces
from clock.channels.lines import UnreadableLines
from clock.channels.wechat import bills, bodies, results, shapes
from clock.channels.wechat.answers import BILL, CLOSE_ORDER, QUERY_REFUND, QUERY_TRANSFER, REFUND, TRANSFER, row_of
from clock.channels.wechat.asking import Asking
from clock.channels.wechat.checking import checked
from clock.channels.wechat.settings import LEAST_TRANSFER_FEN, merchant_of
from clock.channels.wechat.signing import decrypted, verify
from clock.config import Settings
from clock.domain.outcomes import OUTCOMES

TRANSFER_KNOWN_DAYS = 29
"""Questions about transfers reach back 30 days. After so many days ``not_found`` means nothing, and the number must not
be sent again."""

BILL_FROM = time_of_day(10, tzinfo=shapes.BEIJING)
"""When the bill of the day before is there."""

LIMITS = {
    "wechat.orders": 500,
    "wechat.refunds": 150,
    "wechat.refund_errors": 6,
    "wechat.transfers": 100,
    "wechat.transfer_queries": 100,
}
"""Calls a second; of refunds also those that are answered with an error."""

ORDERS, REFUNDS = "/v3/pay/transactions", "/v3/refund/domestic/refunds"
TRANSFERS = "/v3/fund-app/mch-transfer/transfer-bills"


class WeChat:
    name = "wechat"
    pulls = True
    least_transfer_fen = LEAST_TRANSFER_FEN
    transfers_known_days = TRANSFER_KNOWN_DAYS
    billed = MOVEMENTS
    ready = True
    notification: type[msgspec.Struct] | None = None
    hows: tuple[How, ...] = ("jsapi", "h5", "native")

    def __init__(self, settings: Settings, wait: Wait) -> None:
        """Raises :class:`~clock.config.BadSetting`."""
        self._merchant = merchant_of(settings)
        self.most_transfer_fen = self._merchant.most_transfer_fen
        self._wait = wait
        self._asking = Asking(self._merchant)
        self._in_development = settings.env == "dev"

    def silent_seconds(self) -> float:
        return self._asking.calls.silent_seconds()

    def pay_at_once(self, order_no: str, amount_fen: int) -> dict[str, Any] | None:
        return None

    async def pay(self, purchase: Purchase) -> dict[str, Any]:
        if purchase.how not in self.hows:
            raise PayRefused(f"wechat takes {', '.join(self.hows)}")
        await self._within("wechat.orders")
        body = bodies.order(self._merchant, purchase)
        said = await self._asking.ask("POST", f"{ORDERS}/{purchase.how}", body)
        client = bodies.for_client(self._merchant, purchase.how, results.prepared(said))
        if client is None:
            raise Silent("the reply does not hold what the client needs")
        return client

    def read(self, raw: bytes, headers: Mapping[str, str]) -> Notice:
        verify(self._merchant.keys, raw, headers)
        try:
            said = shapes.notification(raw)
            if said.event_type == "TRANSACTION.SUCCESS":
                return self._paid(self._opened(said))
            if said.event_type.startswith("REFUND."):
                return Ended(shapes.refund_notice(self._opened(said)).out_refund_no)
            if said.event_type == "MCHTRANSFER.BILL.FINISHED":
                return Ended(shapes.transfer_notice(self._opened(said)).out_bill_no)
        except (*shapes.UNREADABLE, ValueError, Unreadable) as error:
            raise Unreadable(str(error), raw) from None
        return None

    def _opened(self, said: shapes.Notification) -> bytes:
        sealed = shapes.resource(bytes(said.resource))
        return decrypted(self._merchant.api_v3_key, sealed.nonce, sealed.associated_data or "", sealed.ciphertext)

    def _paid(self, kept: bytes) -> Payment:
        """Raises :class:`ValueError` for another merchant's or application's order, or one that is not paid."""
        paid = shapes.transaction(kept)
        if (paid.appid, paid.mchid) != (self._merchant.appid, self._merchant.mchid):
            raise ValueError(f"it is paid to {paid.mchid} through {paid.appid}")
        if paid.trade_state != "SUCCESS":
            raise ValueError(f"its trade_state is {paid.trade_state}")
        return self.parse(kept)

    def parse(self, kept: bytes) -> Payment:
        return shapes.payment_of(kept)

    def answer(self, word: str) -> Reply | None:
        """Without a body where the notification is taken care of; otherwise it comes again, for about a day."""
        if word in TAKEN:
            return Reply(204)
        outcome = OUTCOMES[word]
        body = msgspec.json.encode({"code": "FAIL", "message": outcome.en})
        return Reply(outcome.http if outcome.http >= 400 else 500, "application/json", body)

    async def query_order(self, order_no: str) -> OrderState:
        said = await self._said("wechat.orders", "GET", self._order(order_no) + f"?mchid={self._merchant.mchid}")
        return results.ordered(said, order_no, self._merchant)

    async def close_order(self, order_no: str) -> OrderState:
        body = {"mchid": self._merchant.mchid}
        said = await self._said("wechat.orders", "POST", self._order(order_no) + "/close", body)
        if said.status <= 0:
            return OrderState("unknown")
        row, _ = results.looked_up(CLOSE_ORDER, said)
        if row.means == "query_order":
            return await self.query_order(order_no)
        return OrderState(row.means)

    async def refund(
        self, refund_no: str, order_no: str, transaction_id: str, amount_fen: int, total_fen: int
    ) -> Result:
        body = bodies.refund(self._merchant, refund_no, transaction_id, amount_fen, total_fen)
        said = await self._said("wechat.refunds", "POST", REFUNDS, body)
        if said.status >= 400:
            with suppress(TooManyCalls):
                await self._within("wechat.refund_errors")
        return results.refunded(REFUND, said, refund_no)

    async def query_refund(self, refund_no: str, order_no: str) -> Result:
        said = await self._said("wechat.refunds", "GET", f"{REFUNDS}/{quote(refund_no, safe='')}")
        return results.refunded(QUERY_REFUND, said, refund_no)

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result:
        if not (transfer_no.isascii() and transfer_no.isalnum()):
            return Result("again", "a transfer's number may hold letters and digits only")
        body = bodies.transfer(self._merchant, transfer_no, open_id, amount_fen)
        said = await self._said("wechat.transfers", "POST", TRANSFERS, body)
        return results.transferred(TRANSFER, said, transfer_no, self._merchant)

    async def query_transfer(self, transfer_no: str) -> Result:
        """``not_found`` is to be believed for :data:`TRANSFER_KNOWN_DAYS` only."""
        path = f"{TRANSFERS}/out-bill-no/{quote(transfer_no, safe='')}"
        said = await self._said("wechat.transfer_queries", "GET", path)
        return results.transferred(QUERY_TRANSFER, said, transfer_no, self._merchant)

    async def bill(self, day: str) -> AsyncGenerator[list[BillLine], None]:
        """Both bills of the day, or none: see :mod:`clock.channels.wechat.bills`."""
        there_at = datetime.combine(date.fromisoformat(day) + timedelta(days=1), BILL_FROM)
        if time.time() < there_at.timestamp() and not self._in_development:
            raise NotYet(f"the bill is there from {there_at:%Y-%m-%d %H:%M} in Beijing")
        with ExitStack() as papers:
            trades = await self._paper(papers, f"/v3/bill/tradebill?bill_date={day}&bill_type=ALL&tar_type=GZIP")
            funds = await self._paper(
                papers, f"/v3/bill/fundflowbill?bill_date={day}&account_type=OPERATION&tar_type=GZIP"
            )
            if trades:
                for page in bills.pages(bills.trades(trades.lines())):
                    yield page
            if funds:
                for page in bills.pages(bills.transfers(funds.lines())):
                    yield page

    async def _paper(self, papers: ExitStack, path: str) -> bills.Paper | None:
        """A bill as it was announced; ``None``: nothing moved. Raises :class:`NoBill`."""
        said = await self._asking.ask("GET", path)
        row = row_of(BILL, said.status, shapes.failure(said.raw).code if said.status != 200 else "")
        if row.means == "empty":
            return None
        if row.means != "there":
            raise (NotYet if row.means == "not_yet" else NoBill)(f"{row.why}: HTTP {said.status}")
        paper = papers.enter_context(bills.Paper())
        try:
            announced = shapes.statement(said.raw)
            async with self._asking.long(announced.download_url) as reply:
                if reply.status != 200:
                    raise NoBill(f"HTTP {reply.status}")
                async for piece in pieces(reply, MOST_BILL):
                    paper.add(piece)
        except (*shapes.UNREADABLE, UnreadableLines, *FAULTS, ValueError) as error:
            raise NoBill(f"{type(error).__name__}: {error}") from error
        paper.check(announced.hash_value)
        return paper

    async def check(self) -> list[str]:
        return await checked(self._asking)

    async def close(self) -> None:
        await self._asking.calls.close()

    async def _within(self, endpoint: str) -> None:
        await self._wait(endpoint, LIMITS[endpoint])

    async def _said(self, endpoint: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Said:
        """Status 0 also where the endpoint's limit is used up: nothing was sent."""
        try:
            await self._within(endpoint)
        except TooManyCalls as error:
            return Said(0, f"too many calls: {error}".encode())
        return await self._asking.ask(method, path, body)

    def _order(self, order_no: str) -> str:
        return f"{ORDERS}/out-trade-no/{quote(order_no, safe='')}"
