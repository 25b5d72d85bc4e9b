"""One shard of a round on a clock that stands where the test puts it; every state is reached by the real scripts."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import msgspec

from clock.config import Settings, rules_of
from clock.domain import order_no
from clock.domain.rounds import Rules, windows
from clock.game import events, keys
from clock.game.events import Event
from clock.game.gametime import SKEW_MS
from clock.game.scripts import Value, load, of_users
from tests.conftest import DAY, at, run_script
from tests.raw import Redis

Client: TypeAlias = Redis
Row: TypeAlias = Mapping[str, Value]

MAX_UID = 2**53 - 1

EVENING = at("20:00")
MIDNIGHT = at("00:00", 1)
OPENS = at("05:00", 1)
MORNING = at("06:00", 1)
CLOSES = at("08:00", 1)
SETTLES = at("08:05", 1)
MORNING_ENDS = at("00:00", 2)
GRACE_MS = 5_000

RULES = rules_of(Settings())

SINGLE = (
    "touch",
    "extend",
    "open",
    "close",
    "publish",
    "settle",
    "finish",
    "order",
    "alert",
    "release",
    "decided",
    "drained",
    "limit",
)
"""Scripts with one word for the whole call."""


def tap(uid: int, waited_ms: int = 0) -> Row:
    """A user's row of check_in and of claim."""
    return {"uid": uid, "waited_ms": waited_ms}


def order(uid: int, waited_ms: int = 0, tail: str = "", shard: int = 0, **changes: Value) -> Row:
    """A user's row of join."""
    tail = tail or tail_of(uid)
    return {
        **tap(uid, waited_ms),
        "order_no": order_no.make("TTC", order_no.Place(DAY, shard, uid, tail)),
        "tail": tail,
        "open_id": f"open-{uid}",
        "mobile": f"138{uid:08}",
        "nickname": f"用户 {uid}",
        **changes,
    }


def payment(uid: int, paid_at_ms: int = EVENING, transaction: str = "", **changes: Value) -> Row:
    """A user's row of pay: what the provider says when all is well."""
    return {
        **order(uid),
        "amount_fen": 100,
        "transaction_id": transaction or f"T-{uid}",
        "buyer_id": f"open-{uid}",
        "paid_at_ms": paid_at_ms,
        "channel": "platform",
        "raw": f'{{"order of": {uid}}}',
        **changes,
    }


def tail_of(uid: int) -> str:
    return f"{uid % 10**12:012}"


def payment_row(uid: int, outcome: str, paid_at_ms: int = EVENING, transaction: str = "") -> tuple[Any, ...]:
    """What the entry of pay says of a payment."""
    said = payment(uid, paid_at_ms, transaction)
    names = ("uid", "order_no", "transaction_id", "amount_fen", "paid_at_ms")
    return (*(said[name] for name in names), outcome, said["channel"], said["raw"])


class Stage:
    def __init__(self, redis: Client, shard: int = 0, day: keys.Day = DAY, forgets_scripts: bool = False) -> None:
        self.redis: Any = redis
        self.shard = shard
        self.day = day
        self._forgets_scripts = forgets_scripts

    # -- calling scripts

    async def call(self, verb: str, *rows: Row, now: int = EVENING, **fixed: Value) -> list[Any]:
        """What the script answers after its time: a result per row, or word and more. Arguments go by the names
        that the script's header gives them."""
        script = load(verb)
        fixed = {"server": "one server", "expected_ms": now, "skew_ms": SKEW_MS, **fixed}
        args = [fixed[name] for name in script.fixed if name not in ("clock", "rows")]
        args += of_users(script, [[row[name] for name in (*script.per_user, *script.row)] for row in rows])
        if self._forgets_scripts:
            await self.redis.script_flush()
        reply = await run_script(self.redis, verb, now, keys.names(self.day, self.shard, script.nouns), *args)
        assert reply[0] == now
        results = [_text(one) for one in reply[1:]]
        assert len(results) == len(rows) or verb in SINGLE
        words = results if rows and verb not in SINGLE else results[:1]
        told = {_word(verb, one) for one in words if not isinstance(one, int)}  # check_in tells ranks
        assert told <= script.words
        return results

    async def open(self, rules: Rules = RULES, **changes: Value) -> str:
        """``changes``: to the fields that the script writes."""
        assert self.day is not None
        fields: dict[str, Value] = {
            "first_order_id": order_no.first_order_id(self.day, self.shard),
            "rules": msgspec.json.encode(rules),
            "seed_hash": "00" * 32,
            "stake_fen": rules.stake_fen,
            **msgspec.structs.asdict(windows(self.day, rules)),
            **changes,
        }
        rows = [{"field": name, "value": value} for name, value in fields.items()]
        return str((await self.call("open", *rows))[0])

    async def join(self, *uids: int) -> list[Any]:
        return await self.call("join", *(order(uid, shard=self.shard) for uid in uids))

    async def release(self, uid: int, transaction: str = "T-1", now: int = EVENING, **changes: Value) -> str:
        row = {**payment(uid, transaction=transaction), **changes}
        return str(
            (await self.call("release", now=now, **{n: row[n] for n in load("release").fixed if n != "clock"}))[0]
        )

    async def check_in(self, *uids: int, now: int = MORNING, waited_ms: int = 0) -> list[str]:
        """Words; ``checked_in`` in the place of a rank."""
        results = await self.call("check_in", *(tap(uid, waited_ms) for uid in uids), now=now)
        return ["checked_in" if isinstance(one, int) else one for one in results]

    async def ranks(self, *uids: int) -> list[Any]:
        """What check_in tells, in the morning: a rank, or a word."""
        return await self.call("check_in", *map(tap, uids), now=MORNING)

    async def claim(self, *uids: int, now: int = SETTLES, waited_ms: int = 0, by: str = "user") -> list[Any]:
        return await self.call("claim", *(tap(uid, waited_ms) for uid in uids), now=now, by=by)

    async def status(self, *uids: int) -> str:
        """A letter a user."""
        return "".join(one[0] for one in await self.call("status", *({"uid": uid} for uid in uids)))

    async def close(self, why: str = "settle", now: int = SETTLES) -> str:
        return str((await self.call("close", now=now, why=why, grace_ms=GRACE_MS))[0])

    async def publish(self, first_index: int, *packets_fen: int, now: int = SETTLES) -> str:
        fens = " ".join(map(str, packets_fen))
        return str((await self.call("publish", now=now, first_index=first_index, fens=fens))[0])

    async def settle(self, packets: int, packets_fen: int, now: int = SETTLES, how: str = "open") -> str:
        return str((await self.call("settle", now=now, how=how, packets=packets, packets_fen=packets_fen))[0])

    async def finish(self, keep_ms: int = keys.KEEP_MS, now: int = MORNING_ENDS) -> str:
        return str((await self.call("finish", now=now, keep_ms=keep_ms))[0])

    # -- reaching states

    async def members(self, *uids: int) -> None:
        """Users who joined and paid in the evening."""
        await self.join(*uids)
        assert await self.call("pay", *(payment(uid) for uid in uids)) == ["paid"] * len(uids)

    async def late_members(self, *uids: int) -> None:
        """Users who joined and paid in the evening, and whose payment was said in the morning."""
        await self.join(*uids)
        assert await self.call("pay", *(payment(uid) for uid in uids), now=OPENS) == ["paid"] * len(uids)

    async def winners(self, *uids: int) -> None:
        await self.members(*uids)
        assert await self.check_in(*uids) == ["checked_in"] * len(uids)

    async def settled(self, *packets_fen: int) -> None:
        """Close, publish these packets (one a winner) and open claiming."""
        assert await self.close() == "closed"
        assert await self.publish(0, *packets_fen) == "published"
        assert await self.settle(len(packets_fen), sum(packets_fen)) == "settled"

    async def bring(self, user: str, round_: str) -> None:
        """User 1 is what the letter of status says (a winner's packet is 7 fen), the round is ``open``, ``closed``,
        ``published``, ``settled``, ``finished`` or ``void``, and the outbox is empty."""
        reach = {"O": self.join, "M": self.members, "L": self.late_members, "C": self.winners, "P": self.winners}
        if user != "-":
            await reach[user](1)
        packets_fen = [7] if user in "CP" else []
        if round_ == "void":
            assert await self.close("void") == "closed"
        elif round_ != "open":
            assert await self.close() == "closed"
        if round_ in ("published", "settled", "finished") and packets_fen:
            assert await self.publish(0, *packets_fen) == "published"
        if round_ in ("settled", "finished"):
            assert await self.settle(len(packets_fen), sum(packets_fen)) == "settled"
        if user == "P":
            assert await self.claim(1) == [["claimed", 7, 100]]
        await self.drained()
        if round_ == "finished":
            assert await self.finish() == "finished"

    async def drained(self) -> None:
        """The outbox is empty, as if its entries were in Postgres."""
        found = await self.redis.xrange(self.key("outbox"))
        if found:
            await self.redis.set(self.key("position"), f"{found[-1][0].decode()} {len(found)}")
        await self.redis.xtrim(self.key("outbox"), maxlen=0, approximate=False)

    async def last_id(self) -> str:
        found = await self.redis.xrevrange(self.key("outbox"), count=1)
        return str(found[0][0].decode())

    # -- looking

    def key(self, noun: str) -> str:
        return keys.name(self.day, self.shard, noun)

    async def state(self) -> str:
        return str((await self.redis.hget(self.key("round"), "state")).decode())

    async def totals(self) -> dict[str, int]:
        """The counters. That each is written as a whole number is part of the promise."""
        return {name.decode(): _whole(text) for name, text in (await self.redis.hgetall(self.key("totals"))).items()}

    async def events(self) -> list[Event]:
        """What is in the outbox. Numbers are whole numbers there too: MessagePack knows the difference."""
        entries = [fields[b"e"] for _, fields in await self.redis.xrange(self.key("outbox"))]
        for entry in entries:
            floats = [value for value in _flat(msgspec.msgpack.decode(entry)) if isinstance(value, float)]
            assert not floats, floats
        return [events.decode(entry) for entry in entries]

    async def new_events(self) -> list[Event]:
        """What is in the outbox, which is empty afterwards."""
        found = await self.events()
        await self.drained()
        return found

    async def packets(self) -> list[int]:
        pieces = keys.pieces(self.key("packets"), 2 * keys.PIECE)
        return [_whole(text) for name in pieces for text in await self.redis.lrange(name, 0, -1)]

    async def dump(self) -> dict[bytes, tuple[Any, int]]:
        """Every key of the server: its value and when it expires (-1: never)."""
        return {
            name: (await self._value(name), await self.redis.pexpiretime(name))
            async for name in self.redis.scan_iter(count=1000)
        }

    async def _value(self, name: bytes) -> Any:
        """Serialized, but for a hash, which is serialized in another order after a question has moved its table."""
        is_hash = await self.redis.type(name) == b"hash"
        return await (self.redis.hgetall(name) if is_hash else self.redis.dump(name))

    async def ttls(self) -> dict[str, int]:
        """Milliseconds that each key of the server has left, by noun; -1: for ever."""
        return {
            name.decode().rpartition(":")[2]: await self.redis.pttl(name)
            async for name in self.redis.scan_iter(count=1000)
        }

    @asynccontextmanager
    async def nothing_changes(self, but: str = "") -> AsyncIterator[None]:
        """``but``: the noun of a key that may."""
        kept = self.key(but).encode() if but else b""
        before = await self.dump()
        yield
        after = await self.dump()
        assert {name: after[name] for name in after if name != kept} == {
            name: before[name] for name in before if name != kept
        }


async def pay(stage: Stage, *rows: Any, now: int = EVENING) -> list[Any]:
    return await stage.call("pay", *rows, now=now)


def _word(verb: str, result: Any) -> str:
    """Without what follows a state of status, and the digits of flags."""
    if isinstance(result, list):
        return str(result[0])
    if verb == "status" and result[0] == "O":
        return "O"
    return str(result[:2] if verb == "flags" and result[0].isdigit() else result)


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(one) for one in value]
    assert isinstance(value, int | bytes)
    return value.decode() if isinstance(value, bytes) else value


def _whole(text: bytes) -> int:
    assert text.isdigit(), text
    return int(text)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    else:
        yield value
