"""The table at which the real clock and the model play the commands of a game side by side."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from clock.books import outbox
from clock.channels.platform import PaymentCallback
from clock.domain.outcomes import Answer, Unavailable
from clock.domain.shapes import Extra
from clock.game.gametime import GameTime
from clock.service import Service
from tests.model import model as m
from tests.model.commands import CheckIn, Claim, Command, Join, Jump, Look, Operate, Outage, Pay, PayUnknown
from tests.model.compared import Compared
from tests.model.world import arrived
from tests.payments import paid


def name(uid: int, account: int = 0) -> str:
    return f"open-{uid}-{account}"


def encode(callback: m.Callback, notify_time: str | None) -> tuple[PaymentCallback, bytes]:
    """The callback as the provider sends it, and as the service reads it."""
    extra: dict[str, Any] = {"amount": callback.amount, "buyerId": callback.buyer, "content": "早起"}
    if callback.transaction:
        extra["transactionId"] = callback.transaction
    if notify_time is not None:
        extra["notify_time"] = notify_time
    raw = msgspec.json.encode({"order_no": callback.order_no, "extra": extra})
    return msgspec.json.decode(raw, type=PaymentCallback), raw


MOMENT_MS = 1_000
"""A script may run so long after the instant that it is played for."""


async def answered(asked: Awaitable[Answer]) -> Answer:
    try:
        return await asked
    except Unavailable:
        return Answer("unavailable")


class Jumped(GameTime):
    """The process goes by its monotonic clock, the scripts by Redis', which is ahead."""

    ahead_ms = 0

    def at_ms(self, instant: float) -> int:
        return super().at_ms(instant) - self.ahead_ms


class Table(Compared):
    """Plays a command on both sides and compares what can be seen."""

    def __init__(self, service: Service, law: m.Law, first: date, days: int) -> None:
        super().__init__(service, m.Model(law, first, days), law)
        self.verbs = service.verbs
        self.home = service.home
        self.incoming = service.incoming

    async def play(self, now_ms: int, command: Command) -> None:
        self.model.now_ms = max(now_ms, self.model.now_ms)  # an outage may have lasted until after it was due
        self.service.time.stop_at(self.model.now_ms)
        await self.service.touching.touch()
        await self._do(command)
        await self.compare_totals()

    async def _do(self, command: Command) -> None:
        verbs: dict[type, Callable[[Any], Awaitable[None]]] = {
            Join: self._join,
            Pay: self._pay,
            PayUnknown: self._pay_unknown,
            CheckIn: self._check_in,
            Claim: self._claim,
            Look: self._look,
            Operate: self._operate,
            Outage: self._outage,
            Jump: self._jump,
        }
        await verbs[type(command)](command)

    def _round(self, back: int) -> m.Round:
        day = self.model.joining().day - timedelta(days=back)
        return self.model.rounds[max(day, min(self.model.rounds))]

    async def _burst(self, uids: Iterable[int], send: Callable[[int], Awaitable[Answer]]) -> list[Answer]:
        return await asyncio.gather(*(send(uid) for uid in uids))

    @staticmethod
    def _same(uids: Iterable[int], said: list[str], expected: list[str]) -> None:
        """The same words for every user; which of a user's simultaneous requests is first is not promised."""
        words: dict[int, list[list[str]]] = defaultdict(lambda: [[], []])
        for uid, one, other in zip(uids, said, expected, strict=True):
            words[uid][0].append(one)
            words[uid][1].append(other)
        for uid, (real, modelled) in words.items():
            assert sorted(real) == sorted(modelled), f"user {uid}: {real}, the model says {modelled}"

    # -- what goes wrong

    async def _outage(self, command: Outage) -> None:
        """Touches go by the real clock: nobody has touched for so long. The worker has opened the rounds before.

        By that clock it begins a moment earlier than in the model, which matters where check-in ends then."""
        if any(abs(one.check_in_closes - self.model.now_ms) < MOMENT_MS for one in self.model.rounds.values()):
            return
        redis: Any = self.service.redis
        await self.service.opener.open_around(m.day_at(self.model.now_ms))
        seconds, micros = await redis.time()
        async for name in redis.scan_iter("clock:{*}:*:round", count=1_000):
            await redis.hset(name, "touched_ms", seconds * 1000 + micros // 1000 - command.lost_ms)
        self.model.outage(command.lost_ms)
        self.service.time.stop_at(self.model.now_ms)
        if isinstance(command.first, Look):  # a home page goes by what the process was told
            await self.service.touching.touch()
        await self._do(command.first)
        await self.service.touching.touch()

    async def _jump(self, command: Jump) -> None:
        time: Any = self.service.time
        now_ms, time.__class__ = self.model.now_ms, Jumped
        time.stop_at(now_ms + command.ahead_ms)
        time.ahead_ms = command.ahead_ms
        try:
            if isinstance(command.during, CheckIn):
                await self._check_in(command.during, command.ahead_ms)
            else:
                await self._claim(command.during, command.ahead_ms)
        finally:
            time.__class__ = GameTime
            time.stop_at(now_ms)

    # -- users

    async def _join(self, command: Join) -> None:
        def extra(uid: int) -> Extra:
            open_id = name(uid, command.account) if command.complete else ""
            return Extra(mobile=f"138{uid % 10**8:08}", nickname=f"早 {uid}", openId=open_id)

        answers = await self._burst(command.uids, lambda uid: self.verbs.join(uid, extra(uid), arrived()))
        for uid, answer in zip(command.uids, answers, strict=True):
            if answer.word == "ordered":
                word = self.model.join(uid, name(uid, command.account), command.complete)
                assert word == "ordered", f"the model says {word}"
                self.model.learn(uid, answer.data["order_no"], answer.data["order_id"])
        for uid, answer in zip(command.uids, answers, strict=True):
            if answer.word != "ordered":
                assert answer.word == self.model.join(uid, name(uid, command.account), command.complete)
            if answer.word in ("ordered", "order_pending"):
                order = self.model.joining().orders[uid]
                expected = {"order_id": order.order_id, "order_no": order.number, "amount": self.law.stake_fen}
                assert answer.data == expected

    async def _check_in(self, command: CheckIn, ahead_ms: int = 0) -> None:
        waited, model = arrived(command.waited_ms), self.model
        answers = await self._burst(command.uids, lambda uid: answered(self.verbs.check_in(uid, waited)))
        expected = [
            model.check_in_while_redis_is(ahead_ms, uid, command.waited_ms)
            if ahead_ms
            else model.check_in(uid, command.waited_ms)
            for uid in command.uids
        ]
        self._same(command.uids, [answer.word for answer in answers], expected)
        done = {"money": self.model.waking().pool_fen}
        for answer in answers:
            assert answer.data == (done if answer.word in ("checked_in", "already_checked_in") else {})

    async def _claim(self, command: Claim, ahead_ms: int = 0) -> None:
        round_ = self.model.waking()
        answers = await self._burst(command.uids, lambda uid: answered(self.verbs.claim(uid, arrived())))

        def claim(uid: int) -> str:
            return self.model.claim_while_redis_is(ahead_ms, uid) if ahead_ms else self.model.claim(uid)

        for uid, answer in zip(command.uids, answers, strict=True):
            if answer.word == "claimed":
                word = claim(uid)
                assert word == "claimed", f"the model says {word}"
                round_.credit(uid, answer.data["assign"]["money"], "user")
        for uid, answer in zip(command.uids, answers, strict=True):
            if answer.word != "claimed":
                assert answer.word == claim(uid)
            if answer.word in ("claimed", "already_claimed"):
                packet, stake = round_.claims[uid][0], self.law.stake_fen
                assert answer.data == {"assign": {"money": packet, "stake": stake, "total": packet + stake}}
            else:
                assert answer.data == {}

    async def _look(self, command: Look) -> None:
        """The home page and the check-in's status."""
        uid, model = command.uid, self.model
        status = await self.verbs.check_in_status(uid, arrived())
        assert status.data == {"is_check_in": int(model.status(uid, model.waking()) == 2)}
        summary = (await self.home.summary(uid, None, arrived())).data["summary"]
        yesterday, today = model.waking(), model.joining()
        waits = model.now_ms < yesterday.settle_due and model.status(uid, yesterday) > 0
        shown = yesterday if waits else today
        open_now = today.join_opens <= model.now_ms < today.join_closes and today.state != "void"
        expected = {
            "clock_status": model.status(uid, shown),
            "user_num": len(shown.members),
            "clock_user_num": len(shown.winners),
            "clock_money": shown.pool_fen,
            "clock_time": self._seconds_to(shown.check_in_opens),
            "red_time": self._seconds_to(yesterday.settle_due) if waits else 0,
            "zero_time": self._seconds_to(today.join_closes) if shown is today else 0,
            "is_start": int(shown is today and open_now),
            "yest_money": yesterday.pool_fen,
            "round": shown.day.isoformat(),
            "server_time": model.now_ms,
        }
        assert {name: summary[name] for name in expected} == expected
        rules = {"check_in_closes_ms": shown.check_in_closes, "settle_ms": shown.settle_due}
        rules |= {"extended_s": shown.extended_ms // 1000, "claim_closes_ms": shown.claim_closes}
        assert {name: summary["rules"][name] for name in rules} == rules
        own = (await self.verbs.yesterday(uid, arrived())).data["yesterday"]
        told = {"round": yesterday.day.isoformat(), "state": yesterday.state, **own}
        assert summary["yesterday"] == told
        assert own["clock_status"] == model.status(uid, yesterday)
        self._compare_order(summary["order"], today.orders.get(uid), uid, shown, open_now)

    def _compare_order(
        self, told: dict[str, Any] | None, order: m.Order | None, uid: int, shown: m.Round, open_now: bool
    ) -> None:
        """The order that can be paid now; one with a refused payment is shown longer."""
        unpaid = order is not None and shown is self.model.joining() and uid not in shown.members
        if order is not None and unpaid and open_now:
            assert told is not None
            assert (told["order_no"], told["amount"]) == (order.number, self.law.stake_fen)
        elif told is not None:
            assert unpaid
            assert (told["state"], shown.state) == ("checking", "open")

    def _seconds_to(self, instant_ms: int) -> int:
        return max(0, -(-(instant_ms - self.model.now_ms) // 1000))

    # -- the provider

    async def _pay(self, command: Pay) -> None:
        order = self._round(command.back).orders.get(command.uid)
        if order is None:
            return
        law, right = self.law, command.right_amount
        transaction = "" if command.transaction is None else f"4200{order.number}-{command.transaction}"
        paid_at, notify_time = self._paid(command)
        buyer = order.open_id if command.right_buyer else name(command.uid, 9)
        callback = m.Callback(order.number, law.stake_fen if right else 1, buyer, transaction, paid_at, b"")
        await self._send(callback, notify_time, command.waited_ms, command.copies)

    async def _pay_unknown(self, command: PayUnknown) -> None:
        order = next((r.orders[command.uid] for r in self.model.rounds.values() if command.uid in r.orders), None)
        number = "not an order"
        if command.what != "text" and order:
            last = "0" if order.number[-1] != "0" else "1"
            number = order.number[:-1] + last if command.what == "tail" else order.number[:-13] + "7" + "z" * 12
        callback = m.Callback(number, self.law.stake_fen, name(command.uid), "4200", None, b"")
        await self._send(callback, None, 0, 1)

    async def _send(self, callback: m.Callback, notify_time: str | None, waited_ms: int, copies: int) -> None:
        request, raw = encode(callback, notify_time)
        callback = m.Callback(**{**asdict(callback), "raw": raw})
        waited = arrived(waited_ms)
        answers = await self._burst(range(copies), lambda _: self.incoming.pay(paid(request, raw), "platform", waited))
        expected = [self.model.pay(callback, waited_ms) for _ in range(copies)]
        self._same([0] * copies, [answer.word for answer in answers], expected)
        assert all(answer.data == {} for answer in answers)

    def _paid(self, command: Pay) -> tuple[int | None, str | None]:
        """The instant that the callback names, and how it is written."""
        if command.paid == "missing":
            return None, None
        if command.paid == "unreadable":
            return None, "yesterday, towards noon"
        closes = self._round(command.back).join_closes
        at_ms = {
            "now": self.model.now_ms,
            "future": self.model.now_ms + 1,
            "in time": closes - 1,
            "as joining closed": closes,
            "late": closes + 60_000,
        }[command.paid]
        text = datetime.fromtimestamp(at_ms // 1000, m.SHANGHAI).replace(microsecond=at_ms % 1000 * 1000)
        if at_ms % 1000 == 0:
            return at_ms, text.strftime("%Y-%m-%d %H:%M:%S")
        return at_ms, text.isoformat(timespec="milliseconds")

    # -- the worker and the operator

    async def _operate(self, command: Operate) -> None:
        day = self._round(command.back).day
        await self.service.opener.open_round(day)
        if command.verb == "settle":
            real, modelled = await self.service.settling.settle(day), self.model.settle(day)
            assert real == modelled, f"{real}, the model says {modelled}"
            await self.compare_split(day)
        elif command.verb == "void":
            assert await self.service.voiding.void(day, "an outage") == self.model.void(day)
        elif command.verb == "drain":
            await self.drain()
        elif self.model.finish(day):
            assert await self.service.finishing.finish(day)
            await self._credit_rest(day)
        else:
            await self.service.finishing.finish(day)

    async def drain(self) -> None:
        for day in self.model.rounds:
            for shard in range(self.law.shards):
                await outbox.drain(self.service.store, self.service.redis, day, shard)

    async def _credit_rest(self, day: date) -> None:
        """Winners who had not claimed have their money now, and nobody else has."""
        round_ = self.model.rounds[day]
        if round_.state == "void":
            return
        rows = await self.select("claims", day)
        for row in rows:
            if row["by"] == "system":
                round_.credit(row["uid"], row["packet_fen"], "system")
        assert set(round_.claims) == set(round_.winners)
        assert not round_.packets.total()

    async def finish_all(self) -> None:
        """The worker is back after an outage: everything is due, oldest first."""
        self.model.now_ms = max(self.model.now_ms, *(r.claim_closes for r in self.model.rounds.values()))
        self.service.time.stop_at(self.model.now_ms)
        for day in self.used():
            await self.service.opener.open_round(day)
            if self.model.rounds[day].state == "open":
                assert await self.service.settling.settle(day) == self.model.settle(day)
                await self.compare_split(day)
            if self.model.finish(day):
                assert await self.service.finishing.finish(day)
                await self._credit_rest(day)
        await self.drain()
