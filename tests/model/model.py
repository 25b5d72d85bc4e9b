"""A second, simple clock to audit the real one: docs/rules.md in plain Python, one request at a time, nothing shared.

It knows nothing of scripts, shards, streams or tables, and takes the few things that are random (order numbers,
which packet a winner draws) from the answers of the real one, after checking that they are possible.

Where docs/rules.md is silent the choice is marked ``(silent)``.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Literal

SHANGHAI = timezone(timedelta(hours=8))
WAIT_CAP_MS = 5_000
MINUTE_MS = 60_000
SILENT_MS = 5_000
MOST_MS = 60 * MINUTE_MS


@dataclass(frozen=True)
class Law:
    """The rules of every round of a game."""

    stake_fen: int = 100
    split: Literal["random", "equal"] = "random"
    nobody: Literal["refund", "carry"] = "refund"
    fee_bps: int = 0
    packet_cap_fen: int = 0
    lucky_count: int = 0
    lucky_bps: int = 0
    shards: int = 1
    join_opens: str = "00:00"
    join_closes: str = "24:00"
    bonus_fen: int = 0


def instant(day: date, time_of_day: str) -> int:
    """``HH:MM``, up to ``24:00``, in Shanghai, which has no summer time; in ms."""
    hours, minutes = time_of_day.split(":")
    midnight = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
    return int(midnight.timestamp()) * 1000 + (int(hours) * 60 + int(minutes)) * MINUTE_MS


def day_at(now_ms: int) -> date:
    return datetime.fromtimestamp(now_ms // 1000, SHANGHAI).date()


@dataclass(frozen=True)
class Callback:
    """A signed payment callback. ``paid_at_ms`` is ``None`` where it is missing or unreadable."""

    order_no: str
    amount: int
    buyer: str
    transaction: str
    paid_at_ms: int | None
    raw: bytes


@dataclass
class Order:
    uid: int
    open_id: str
    number: str = ""
    order_id: int = 0
    accepted: dict[str, Literal["member", "late", "refund"]] = field(default_factory=dict)
    """What became of each transaction that was accepted."""


@dataclass
class Round:
    day: date
    law: Law
    orders: dict[int, Order] = field(default_factory=dict)
    members: dict[int, str] = field(default_factory=dict)
    """Who joined, with which transaction."""
    late: set[int] = field(default_factory=set)
    winners: list[int] = field(default_factory=list)
    refunds: dict[tuple[str, str], int] = field(default_factory=dict)
    """Order and transaction of what is given back, to whom."""
    refused: int = 0
    """How many of these refunds are payments that made nobody a member."""
    carried_on: bool = False
    """Whether a later round has taken over what this one carried out."""
    claims: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Packet and by whom: ``user`` or ``system``."""
    state: Literal["open", "settled", "void"] = "open"
    finished: bool = False
    refunded_fen: int = 0
    forfeited_fen: int = 0
    fee_fen: int = 0
    carried_in_fen: int = 0
    pot_fen: int = 0
    carried_out_fen: int = 0
    bonus_fen: int = 0
    bonus_back_fen: int = 0
    packets: Counter[int] = field(default_factory=Counter)
    """Packets of those who have not claimed yet; known once the real round has published them."""

    def __post_init__(self) -> None:
        morning = self.day + timedelta(days=1)
        self.join_opens = instant(self.day, self.law.join_opens)
        self.join_closes = instant(self.day, self.law.join_closes)
        self.check_in_opens = instant(morning, "05:00")
        self.check_in_closes = instant(morning, "08:00")
        self.settle_due = instant(morning, "08:05")
        self.claim_closes = instant(morning, "24:00")
        self.morning_starts = instant(morning, "00:00")
        self.extended_ms = 0

    def extend(self, since_ms: int, now_ms: int) -> None:
        """Nobody could check in since then."""
        since_ms = max(since_ms, self.check_in_opens)
        if self.state != "open" or since_ms >= self.check_in_closes or now_ms - since_ms <= SILENT_MS:
            return
        by_ms = min(-(-(now_ms - since_ms) // MINUTE_MS) * MINUTE_MS, MOST_MS - self.extended_ms)
        self.extended_ms += by_ms
        self.check_in_closes += by_ms
        self.settle_due += by_ms

    @property
    def pool_fen(self) -> int:
        return len(self.members) * self.law.stake_fen

    def publish(self, packets: list[int]) -> None:
        """Take over the real packets, if they may be this round's."""
        law = self.law
        assert len(packets) == len(self.winners)
        assert sum(packets) == self.pot_fen - self.carried_out_fen - self.bonus_back_fen
        assert all(0 <= packet <= (law.packet_cap_fen or self.pot_fen) for packet in packets)
        if law.split == "equal" and not law.lucky_bps and packets:
            assert max(packets) - min(packets) <= 1
        if not law.lucky_bps and sum(packets) >= len(packets):
            assert all(packets), "at least 1 fen each while the pot allows it"
        self.packets = Counter(packets)

    def credit(self, uid: int, packet_fen: int, by: str) -> None:
        """Note that a winner was credited, once, a packet that was left."""
        assert uid in self.winners and uid not in self.claims
        assert self.packets[packet_fen] > 0, f"no packet of {packet_fen} is left"
        self.packets[packet_fen] -= 1
        self.claims[uid] = (packet_fen, by)


class Model:
    """``now_ms`` only ever grows. Every verb answers with its word and changes the model."""

    def __init__(self, law: Law, first: date, days: int) -> None:
        self.law = law
        self.now_ms = instant(first, "00:00")
        self.rounds = {day: Round(day, law) for day in (first + timedelta(days=n) for n in range(-1, days + 2))}
        self.numbers: dict[str, tuple[Round, Order]] = {}
        self.quarantine: set[tuple[str, str, bytes]] = set()

    def joining(self) -> Round:
        """The round that is joined today."""
        return self.rounds[day_at(self.now_ms)]

    def waking(self) -> Round:
        """The round whose check-in day is today."""
        return self.rounds[day_at(self.now_ms) - timedelta(days=1)]

    # -- joining and paying

    def join(self, uid: int, open_id: str, complete: bool) -> str:
        """After ``ordered`` the caller must :meth:`learn` the order's number."""
        if not complete:
            return "profile_required"
        yesterday, today = self.waking(), self.joining()
        if uid in yesterday.members and yesterday.state != "void" and self.now_ms < yesterday.settle_due:
            return "settle_first"  # (silent) before already_joined and order_pending
        if today.state == "void":
            return "voided"  # (silent)
        if uid in today.members:
            return "already_joined"
        if not today.join_opens <= self.now_ms < today.join_closes:
            return "join_closed"  # (silent) for an order that is open, too
        if uid in today.orders:
            return "order_pending"
        today.orders[uid] = Order(uid, open_id)
        return "ordered"

    def learn(self, uid: int, number: str, order_id: int) -> None:
        order = self.joining().orders[uid]
        assert 0 < len(number) <= 32 and number.isalnum() and number.isascii()
        assert 0 < order_id < 2**53
        assert number not in self.numbers, "an order number is never reused"
        assert order_id not in {known.order_id for _, known in self.numbers.values()}
        order.number, order.order_id = number, order_id
        self.numbers[number] = (self.joining(), order)

    def pay(self, callback: Callback, waited_ms: int) -> str:
        word = self._pay(callback, waited_ms)
        if word in ("order_not_found", "amount_mismatch", "transaction_missing", "buyer_mismatch"):
            self.quarantine.add((word, callback.order_no, callback.raw))
        return word

    def _pay(self, callback: Callback, waited_ms: int) -> str:
        if callback.order_no not in self.numbers:
            return "order_not_found"
        round_, order = self.numbers[callback.order_no]
        if callback.transaction in order.accepted:
            return "refund_due" if order.accepted[callback.transaction] == "refund" else "already_paid"
        if callback.amount != round_.law.stake_fen:
            return "amount_mismatch"
        if not callback.transaction:
            return "transaction_missing"
        if callback.buyer != order.open_id:
            return "buyer_mismatch"
        received = self.now_ms - min(waited_ms, WAIT_CAP_MS)
        paid_at = callback.paid_at_ms
        if paid_at is None or paid_at > received:
            paid_at = received
        becomes = self._timing(round_, order, paid_at, received)
        order.accepted[callback.transaction] = becomes
        if becomes == "refund":
            round_.refused += 1
            round_.refunds[order.number, callback.transaction] = order.uid
            return "refund_due"
        round_.members[order.uid] = callback.transaction
        if becomes == "late":
            round_.late.add(order.uid)
        return "paid"

    @staticmethod
    def _timing(round_: Round, order: Order, paid_at: int, received: int) -> Literal["member", "late", "refund"]:
        if round_.state == "void" or order.uid in round_.members or paid_at >= round_.join_closes:
            return "refund"
        if received < round_.check_in_opens:
            return "member"
        return "late" if received < round_.check_in_closes else "refund"

    def outage(self, lost_ms: int) -> None:
        """It ends now, later than it began."""
        since_ms, self.now_ms = self.now_ms, self.now_ms + lost_ms
        for round_ in self.rounds.values():
            round_.extend(since_ms, self.now_ms)

    # -- the morning

    def check_in_while_redis_is(self, ahead_ms: int, uid: int, waited_ms: int) -> str:
        """Nobody is refused by a clock that has jumped; who can check in by it, may."""
        round_, now_ms = self.waking(), self.now_ms + ahead_ms
        arrived_ms = now_ms - min(waited_ms, WAIT_CAP_MS)
        mine = uid in round_.members and uid not in round_.winners and round_.state == "open"
        if mine and round_.check_in_opens <= now_ms and arrived_ms < round_.check_in_closes:
            round_.winners.append(uid)
            return "checked_in"
        if not (round_.morning_starts <= now_ms and arrived_ms < round_.claim_closes):
            return "unavailable"
        if round_.state == "void":
            return "voided"
        return "already_checked_in" if uid in round_.winners else "unavailable"

    def claim_while_redis_is(self, ahead_ms: int, uid: int) -> str:
        round_, now_ms = self.waking(), self.now_ms + ahead_ms
        if not round_.morning_starts <= now_ms < round_.claim_closes:
            return "unavailable"
        word = self.claim(uid)
        if word in ("voided", "already_claimed"):
            return word
        if now_ms < round_.check_in_closes:
            return "unavailable"
        return "not_settled" if word == "too_early" else word

    def check_in(self, uid: int, waited_ms: int) -> str:
        round_ = self.waking()
        if round_.state == "void":
            return "voided"  # (silent) before already_checked_in
        if uid in round_.winners:
            return "already_checked_in"
        if self.now_ms < round_.check_in_opens:
            return "too_early"
        if self.now_ms - min(waited_ms, WAIT_CAP_MS) >= round_.check_in_closes:
            return "too_late"
        if uid not in round_.members:
            return "not_joined"
        round_.winners.append(uid)
        return "checked_in"

    def claim(self, uid: int) -> str:
        """After ``claimed`` the caller must :meth:`Round.credit` the packet."""
        round_ = self.waking()
        if round_.state == "void":
            return "voided"  # (silent)
        if uid in round_.claims:
            return "already_claimed"
        if self.now_ms < round_.check_in_closes:
            return "too_early"
        if round_.state != "settled":
            return "not_settled"
        if uid not in round_.members:
            return "not_joined"
        return "claimed" if uid in round_.winners else "not_checked_in"

    def status(self, uid: int, round_: Round) -> int:
        """0 not joined, 1 joined, 2 checked in."""
        if round_.state == "void" or uid not in round_.members:
            return 0  # (silent) nobody is in a void round
        return 2 if uid in round_.winners else 1

    # -- operators and the worker

    def settle(self, day: date) -> str:
        round_ = self.rounds[day]
        if round_.state == "void":
            return "round_void"
        if self.now_ms < round_.settle_due:
            return "not_due"
        if round_.state == "open":
            self._settle(round_)
        return "settled"

    def _settle(self, round_: Round) -> None:
        law, sleepers = self.law, set(round_.members) - set(round_.winners)
        everybody = not round_.winners and law.nobody == "refund"
        refunded = sleepers if everybody else sleepers & round_.late
        self._give_back(round_, refunded)
        round_.forfeited_fen = (len(sleepers) - len(refunded)) * law.stake_fen
        round_.fee_fen = round_.forfeited_fen * law.fee_bps // 10_000
        round_.carried_in_fen = self._carried_into(round_)
        round_.bonus_fen = law.bonus_fen
        round_.pot_fen = round_.forfeited_fen - round_.fee_fen + round_.carried_in_fen + law.bonus_fen
        if not round_.winners:
            round_.bonus_back_fen = law.bonus_fen
            round_.carried_out_fen = round_.pot_fen - law.bonus_fen
        elif law.packet_cap_fen:
            round_.carried_out_fen = max(0, round_.pot_fen - law.packet_cap_fen * len(round_.winners))
        round_.state = "settled"

    def _carried_into(self, round_: Round) -> int:
        """What earlier rounds carried and no round has taken yet."""
        carried_in = 0
        for earlier in self.rounds.values():
            if earlier.day < round_.day and earlier.carried_out_fen and not earlier.carried_on:
                earlier.carried_on = True
                carried_in += earlier.carried_out_fen
        return carried_in

    def void(self, day: date) -> str:
        round_ = self.rounds[day]
        if round_.state == "settled":
            return "round_settled"
        if round_.state == "open":
            self._give_back(round_, set(round_.members))
            round_.state = "void"
        return "ok"

    def _give_back(self, round_: Round, uids: set[int]) -> None:
        for uid in uids:
            round_.refunds[round_.orders[uid].number, round_.members[uid]] = uid
        round_.refunded_fen = len(uids) * self.law.stake_fen

    def finish(self, day: date) -> bool:
        """Whether the round ends now. The caller credits whoever has not claimed."""
        round_ = self.rounds[day]
        if round_.state == "open" or round_.finished or self.now_ms < round_.claim_closes:
            return False
        round_.finished = True
        return True

    # -- what must always hold

    def totals(self, day: date) -> dict[str, int]:
        round_ = self.rounds[day]
        packets = [packet for packet, _ in round_.claims.values()]
        return {
            "orders": len(round_.orders),
            "members": len(round_.members),
            "winners": len(round_.winners),
            "late": len(round_.late),
            "pool_fen": round_.pool_fen,
            "claimed": len(packets),
            "claimed_fen": sum(packets),
            "refused_payments": round_.refused,
        }

    def figures(self, day: date) -> dict[str, int]:
        """What the operator sees of a settled or void round."""
        round_ = self.rounds[day]
        money = ("pool", "refunded", "forfeited", "fee", "carried_in", "bonus", "pot", "carried_out", "bonus_back")
        names = [f"{name}_fen" for name in money]
        counts = {name: len(getattr(round_, name)) for name in ("members", "winners", "late")}
        return counts | {name: getattr(round_, name) for name in names}
