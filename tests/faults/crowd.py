"""The load: every verb over real HTTP, doubled and tried again with the same body until it is answered."""

import asyncio
import random
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp
import msgspec

from clock.channels.webhooks import Signatures
from clock.domain import order_no
from clock.http.wire import Envelope
from clock.tokens import Tokens
from tests.faults.journal import Journal, Told
from tests.faults.stack import Stack

TRY_AGAIN = frozenset(("unavailable", "busy", "slow_down"))
REQUEST_S = 15.0
PATIENCE_S = 90.0
STAKE_FEN = 100

MEMBER_WORDS = frozenset(("paid", "already_paid"))


class Client:
    """One caller for everybody. A request is sent again, as it was, until it is answered or patience ends."""

    def __init__(self, stack: Stack, journal: Journal, chance: random.Random, session: aiohttp.ClientSession) -> None:
        self.journal = journal
        self.chance = chance
        self.page = stack.page
        self.provider = stack.direct.platform_url
        self.is_foreign = stack.direct.channel != "platform"
        """Orders have to be made at the provider, and its answers have no word of ours."""
        self.open = asyncio.Event()
        """Cleared while nobody may send."""
        self.open.set()
        self.in_flight = 0
        self._session = session
        self._tokens = Tokens(stack.direct)
        self._bearers: dict[int, str] = {}
        self._signatures = Signatures(stack.direct.webhook_secret)
        self._decode = msgspec.json.Decoder(Envelope).decode

    def bearer(self, uid: int) -> dict[str, str]:
        if uid not in self._bearers:
            self._bearers[uid] = f"Bearer {self._tokens.issue(uid)}"
        return {"authorization": self._bearers[uid]}

    async def send(
        self, verb: str, method: str, url: str, raw: bytes | None, headers: dict[str, str], patience_s: float
    ) -> Envelope | None:
        """The first answer that is one; ``None`` if there was none in time."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            await self.open.wait()
            reply = await self._try(verb, method, url, raw, headers)
            if reply is not None:
                self.journal.acknowledged[f"{verb} {reply.code}"] += 1
                return reply
            self.journal.retried[verb] += 1
            await asyncio.sleep(self.chance.uniform(0.1, 0.6))
        self.journal.unanswered[verb] += 1
        return None

    async def _try(
        self, verb: str, method: str, url: str, raw: bytes | None, headers: dict[str, str]
    ) -> Envelope | None:
        self.in_flight += 1
        try:
            async with self._session.request(method, url, data=raw, headers=headers) as reply:
                envelope = self._decode(await reply.read())
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError):
            return None
        finally:
            self.in_flight -= 1
        if envelope.code in TRY_AGAIN:
            return None
        if reply.status >= 500 or envelope.code in ("bad_request", "unauthenticated", "not_found"):
            self.journal.broken.append(f"{verb} was answered {reply.status} {envelope.code}: {envelope.message}")
        return envelope

    async def post(self, path: str, told: Told, patience_s: float = PATIENCE_S, **body: Any) -> Envelope | None:
        raw = msgspec.json.encode({"uid": told.uid, **body})
        return await self.send(path[5:], "POST", self.page + path, raw, self.bearer(told.uid), patience_s)

    async def callback(self, raw: bytes) -> Envelope | None:
        """A callback as the provider sends it, signed."""
        url = f"{self.page}/callbacks/platform"
        return await self.send("callback", "POST", url, raw, self._signatures.sign(raw), PATIENCE_S)

    async def pay(self, told: Told, at_ms: int, again: bool) -> tuple[bool, Envelope | None]:
        """The user pays at the provider. Whether it has the money for certain, and the answer to its callback, if
        it got one."""
        payment = {"order_no": told.order_no, "amount": STAKE_FEN, "buyerId": told.open_id, "at_ms": at_ms}
        raw = msgspec.json.encode({**payment, "again": again, "pay": told.pay})
        for _ in range(20):
            await self.open.wait()
            self.in_flight += 1
            try:
                async with self._session.post(f"{self.provider}/pay", data=raw) as reply:
                    text = await reply.read()
                    if reply.status == 409:  # the order could not be made in time
                        return False, None
            except (aiohttp.ClientError, TimeoutError, OSError):
                self.journal.retried["pay"] += 1
                await asyncio.sleep(self.chance.uniform(0.1, 0.6))
                if again:  # a second "again" would be a third payment
                    return False, None
                continue
            finally:
                self.in_flight -= 1
            try:
                envelope = self._decode(text)
            except msgspec.DecodeError:
                envelope = None
            self.journal.acknowledged[f"pay {envelope.code if envelope else '(callback unanswered)'}"] += 1
            return True, envelope
        self.journal.unanswered["pay"] += 1
        return False, None

    async def move_time(self, now: str) -> None:
        """Raises :class:`TimeoutError` where it cannot be moved."""
        raw = msgspec.json.encode({"now": now})
        if await self.send("time", "PUT", f"{self.page}/dev/time", raw, {}, 60) is None:
            raise TimeoutError("the clock cannot be moved")


class Crowd:
    """What the users of a round do, and write down."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.journal = client.journal
        self.chance = client.chance

    # -- the evening

    async def join(self, told: Told) -> str:
        """Order, or learn that the order was paid; the word."""
        extra = {"mobile": f"138{told.uid:08}", "nickname": f"user {told.uid}", "openId": told.open_id}
        if self.chance.random() < 0.2:
            await self.client.post("/api/summary", told, extra=extra)
        times = 2 if self.chance.random() < 0.3 else 1
        was_member = told.is_member  # of two joins at once, either may be served before a payment
        replies = await asyncio.gather(*(self.client.post("/api/join", told, extra=extra) for _ in range(times)))
        word = ""
        for reply in replies:
            word = reply.code if reply else word
            if reply and "order_no" in reply.data:
                if not self._is_of(told, reply.data["order_no"]):
                    return "midnight"
                if told.order_no not in ("", reply.data["order_no"]):
                    self.journal.lost.append(f"round {told.day} user {told.uid}: order {told.order_no} was forgotten")
                told.order_no = reply.data["order_no"]
            if reply and reply.code == "already_joined":
                told.is_member = True
            elif reply and was_member and reply.code in ("ordered", "order_pending"):
                self.journal.lost.append(f"round {told.day} member {told.uid} was told {reply.code} by join")
        if self.client.is_foreign and word in ("ordered", "order_pending"):
            await self._make(told)
        return word

    async def _make(self, told: Told) -> None:
        """The order, at the provider."""
        reply = await self.client.post("/api/pay", told, order_no=told.order_no)
        if reply and reply.code == "ok":
            told.pay = reply.data["pay"]
        elif reply and reply.code == "order_not_found":
            self.journal.lost.append(f"round {told.day} user {told.uid}: order {told.order_no} cannot be paid")

    async def _learn(self, told: Told) -> None:
        """Whether the user is a member: the provider's answer does not say it."""
        reply = await self.client.post("/api/summary", told)
        if reply and reply.code == "ok":
            summary = reply.data["summary"]
            told.is_member |= summary["round"] == str(told.day) and summary["clock_status"] > 0

    @staticmethod
    def _is_of(told: Told, number: str) -> bool:
        """Whether the order is the user's for this round; after midnight it is for the next one."""
        place = order_no.parse("TTC", number)
        return place is not None and place.day == told.day

    async def pay(self, told: Told, at_ms: int, again: bool = False) -> None:
        """Through the provider; some send the callback once more themselves, or ask the provider to."""
        if not told.order_no:
            return
        transaction, taken = f"S{told.order_no}{int(again)}", False
        for _ in range(2):
            taken, reply = await self.client.pay(told, at_ms, again)
            self._payment(told, transaction, reply)
            if again or self.chance.random() < 0.6:
                break
        if self.client.is_foreign:
            await self._learn(told)
        elif taken and self.chance.random() < 0.3:
            extra = {"amount": STAKE_FEN, "buyerId": told.open_id, "transactionId": transaction}
            zone = timezone(timedelta(hours=8))
            extra["notify_time"] = datetime.fromtimestamp(at_ms // 1000, zone).isoformat()
            raw = msgspec.json.encode({"order_no": told.order_no, "extra": extra})
            self._payment(told, transaction, await self.client.callback(raw))

    def _payment(self, told: Told, transaction: str, reply: Envelope | None) -> None:
        word = reply.code if reply else ""
        if word in MEMBER_WORDS:
            if transaction in told.refused:
                self.journal.differing.append(f"round {told.day} {transaction}: first refund_due, then {word}")
            told.staked.add(transaction)
            told.is_member = True
        elif word == "refund_due":
            if transaction in told.staked:
                self.journal.differing.append(f"round {told.day} {transaction}: first paid, then refund_due")
            told.refused.add(transaction)
        elif word in ("order_not_found", "amount_mismatch", "buyer_mismatch", "transaction_missing"):
            self.journal.lost.append(f"round {told.day} {transaction} was answered {word}")

    # -- the morning

    async def check_in(self, told: Told, patience_s: float = PATIENCE_S) -> str:
        """One to three taps at once; the last word."""
        taps = self.chance.choice((1, 1, 2, 3))
        post = self.client.post
        replies = await asyncio.gather(*(post("/api/check-in", told, patience_s, receipt=True) for _ in range(taps)))
        words = [reply.code for reply in replies if reply]
        told.promised += [reply.data["receipt"]["leaf"] for reply in replies if reply and "receipt" in reply.data]
        for word in words:
            if word in ("checked_in", "already_checked_in"):
                self.journal.check_in(told, word)
        if "not_joined" in words and told.is_member:
            await self._not_forgotten(told, "/api/check-in", "not_joined")
        return words[-1] if words else ""

    async def status(self, told: Told) -> None:
        reply = await self.client.post("/api/check-in/status", told)
        if reply and reply.code == "ok" and told.is_winner and not reply.data["is_check_in"]:
            await asyncio.sleep(2)
            reply = await self.client.post("/api/check-in/status", told)
            if reply and not reply.data.get("is_check_in"):
                self.journal.lost.append(f"round {told.day}: the check-in of user {told.uid} was forgotten")

    async def receipt(self, told: Told) -> None:
        """From the books, where none has come with the answer: it was lost, or Postgres was away."""
        if not told.is_winner or told.promised:
            return
        url = f"{self.client.page}/api/rounds/{told.day}/receipt/checked_in"
        reply = await self.client.send("receipt", "GET", url, None, self.client.bearer(told.uid), PATIENCE_S)
        if reply and reply.code == "ok":
            told.promised.append(reply.data["leaf"])
        elif reply:
            self.journal.lost.append(f"round {told.day} winner {told.uid} was told {reply.code} by receipt")

    # -- the settlement

    async def claim(self, told: Told, patience_s: float = PATIENCE_S) -> None:
        """Until it is settled; some claim twice at once, some once more afterwards."""
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            times = 2 if self.chance.random() < 0.2 else 1
            replies = await asyncio.gather(*(self.client.post("/api/claim", told) for _ in range(times)))
            for reply in replies:
                if reply and reply.code in ("claimed", "already_claimed"):
                    assign = reply.data["assign"]
                    self.journal.claim(told, reply.code, assign["money"], assign["stake"])
            words = [reply.code for reply in replies if reply]
            if told.is_winner and {"not_joined", "not_checked_in"} & set(words):
                await self._not_forgotten(told, "/api/claim", "not_joined", "not_checked_in")
            if words and words[-1] not in ("not_settled", "too_early"):
                return
            await asyncio.sleep(self.chance.uniform(0.3, 1.0))

    async def _not_forgotten(self, told: Told, path: str, *words: str) -> None:
        """A process that has just started may not be on the moved clock yet; a member is one a moment later."""
        await asyncio.sleep(2)
        reply = await self.client.post(path, told)
        if reply and reply.code in words:
            self.journal.lost.append(f"round {told.day} user {told.uid} was told {reply.code} by {path}")
