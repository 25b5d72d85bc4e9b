"""Incoming payments: a signed callback is matched to its order by the order number, or quarantined.

``arrived`` and errors are as in :mod:`clock.game.asking`.
"""

import base64
import hashlib

import msgspec

from clock.channels import Payment
from clock.domain import order_no
from clock.domain.outcomes import Answer, Unavailable
from clock.game import keys
from clock.game.asking import Asking, Opens
from clock.game.client.calls import call
from clock.game.client.commands import Commands
from clock.game.receipts import Receipts
from clock.game.scripts import load

PAY, QUARANTINE, ORDER = load("pay"), load("quarantine"), load("order")

QUARANTINED = frozenset(("order_not_found", "amount_mismatch", "buyer_mismatch", "transaction_missing"))

NO_AMOUNT_FEN = -1
"""Stands for a missing or impossible amount; no order has it."""

ORDERS_KNOWN_DAYS = 400
"""Order numbers of rounds further from today than this are not looked up."""


class Order(msgspec.Struct, frozen=True):
    amount_fen: int
    open_id: str
    paid: bool
    void: bool
    """Its round is."""


class Incoming:
    def __init__(self, asking: Asking, redis: Commands, opener: Opens, receipts: Receipts) -> None:
        self._asking = asking
        self._redis = redis
        self._opener = opener
        self._receipts = receipts

    async def place_of(self, number: str) -> order_no.Place | None:
        """The place of the order; ``None`` if no round whose keys are kept gives that number."""
        place = order_no.place_of(number)
        today = self._asking.calendar.day_at(self._asking.time.now_ms())
        if place is None or abs((place.day - today).days) > ORDERS_KNOWN_DAYS:
            return None
        round_ = await self._asking.existing(place.day)
        if round_ is None:
            return None
        rules = round_.rules
        ours = number[: -order_no.LENGTH] == rules.order_prefix
        return place if ours and place.shard == keys.shard_of(place.uid, rules.shards) else None

    async def order(self, place: order_no.Place) -> Order | None:
        """The order with that number, if it exists. Raises :class:`Unavailable` if Redis has lost its round."""
        names = keys.names(place.day, place.shard, ORDER.nouns)
        setting = self._asking.time.setting
        _, word, *order = await call(self._redis, ORDER, names, [setting, place.uid, place.tail])
        if word == b"no_round":
            await self._opener.reopen(place.day)
        return Order(order[0], order[1].decode(), order[2] != b"O", bool(order[3])) if word == b"found" else None

    async def pay(self, paid: Payment, channel: str, arrived: float) -> Answer:
        """Process a payment of which the channel says so itself. One that fails a check is quarantined."""
        word = await self._pay(paid, channel, arrived)
        if word in QUARANTINED:
            await self.quarantine(channel, word, paid.order_no, paid.kept, arrived)
        return Answer(word)

    async def receipt(self, paid: Payment, word: str) -> bytes | None:
        """Of a payment that has just been answered with ``word``: it is in the round, or the same was before."""
        place = order_no.place_of(paid.order_no)
        round_ = self._asking.rounds.get(place.day) if place else None
        if place is None or round_ is None or word not in ("paid", "already_paid"):
            return None
        return await self._receipts.stake(place.day, place.shard, place.uid, paid.order_no, round_.rules.stake_fen)

    async def _pay(self, paid: Payment, channel: str, arrived: float) -> str:
        place = await self.place_of(paid.order_no)
        if place is None:
            return "order_not_found"
        args = (
            place.uid,
            paid.order_no,
            place.tail,
            paid.amount_fen if paid.amount_fen is not None and 0 <= paid.amount_fen < 1 << 53 else NO_AMOUNT_FEN,
            paid.transaction_id,
            paid.buyer,
            paid.paid_at_ms,
            channel,
            readable(paid.kept),
        )
        for _ in range(2):
            _, result = await self._asking.batcher.submit(PAY, place.day, place.shard, args, arrived)
            if result == b"clock_moved":
                raise Unavailable("Redis' clock has jumped: no payment is judged by it")
            if result != b"no_round":
                return str(result.decode())
            if not await self._opener.reopen(place.day):
                return "order_not_found"
        raise Unavailable(f"round {place.day} does not open")

    async def quarantine(self, channel: str, reason: str, number: str, raw: bytes, arrived: float) -> None:
        """Store a signed callback that was not credited."""
        asking = self._asking
        round_ = await asking.round(asking.calendar.day_at(asking.time.now_ms()))
        await asking.ask(QUARANTINE, round_, 0, (channel, reason, number, base64.b64encode(raw)), arrived)


def readable(raw: bytes) -> str:
    """A body as text that Postgres can store, with escapes for invalid UTF-8 and NUL."""
    return raw.decode(errors="backslashreplace").replace("\x00", "\\x00")


def body_sha1(raw: bytes) -> str:
    """The name of a callback in ``lua/pay.lua``, which gets the readable body."""
    return hashlib.sha1(readable(raw).encode(), usedforsecurity=False).hexdigest()
