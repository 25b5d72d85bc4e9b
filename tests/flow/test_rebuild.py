"""Redis is lost: Postgres has it all, verbs wait for it, and afterwards nobody can tell the difference."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from clock.audit.rebuild import rebuild_lost
from clock.books import outbox
from clock.channels.webhooks import Signatures
from clock.config import Settings
from clock.domain import order_no
from clock.domain.outcomes import Answer, Unavailable
from clock.domain.shapes import Extra
from clock.game import keys
from clock.rounds.ending import Ending
from clock.rounds.settling import Settling
from tests.conftest import DAY, WEBHOOK_SECRET, Api, Servers, at
from tests.flow.stage import IN_TIME, NEXT_DAY, STAKE, People, forget, one_database
from tests.model.world import new_world

USERS = range(1, 21)
"""1 to 9 win, 10 to 14 sleep, 15 and 16 are late and 15 wakes, 17 and 18 only ordered, 19 paid twice and wins, 20's
money came too late."""


@pytest.fixture(scope="module")
async def shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with one_database(servers, tmp_path_factory.mktemp("rebuild")) as settings:
        yield settings


# -- a round that goes as far as it is asked to


async def joining(people: People) -> None:
    await people.service.home.summary(1, Extra(nickname="早起 " * 20), time.monotonic())
    for uid in (1, 2, 10):
        await people.service.flags.remind(uid, True, time.monotonic())
    await people.service.flags.remind(2, False, time.monotonic())
    await people.join(*(uid for uid in USERS if uid != 17))
    paying = [*range(1, 15), 19]
    assert set(await asyncio.gather(*(people.pay(uid, paid_at=IN_TIME) for uid in paying))) == {"paid"}
    assert await people.pay(19, "second", paid_at=IN_TIME) == "refund_due"
    await people.join(17)


async def waiting(people: People) -> None:
    await joining(people)
    people.it_is("00:30", 1)
    assert await people.pay(20, paid_at=f"{NEXT_DAY} 00:10:00") == "refund_due"


async def checking_in(people: People) -> None:
    await waiting(people)
    people.it_is("06:00", 1)
    await people.check_in(*range(1, 5))
    assert [await people.pay(uid, paid_at=IN_TIME) for uid in (15, 16)] == ["paid", "paid"]
    await people.check_in(*range(5, 10), 15, 19)


def stopped_before(step: str) -> Callable[[People], Awaitable[None]]:
    """Settlement comes as far as the step before ``step``."""

    async def stop(*_: Any) -> str:
        raise Unavailable("the power is out")

    async def play(people: People) -> None:
        await checking_in(people)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Settling, step, stop)
            with pytest.raises(Unavailable):
                await people.settle()

    return play


async def settled(people: People) -> None:
    await checking_in(people)
    await people.settle()


async def half_claimed(people: People) -> None:
    await settled(people)
    await people.claim(3, 1, 19, 15)
    for uid in (1, 2, 16, 18):
        await people.service.flags.ack_alert(uid, time.monotonic())


async def finished(people: People) -> None:
    await half_claimed(people)
    await people.finish()
    assert await people.pay(18, paid_at=IN_TIME) == "refund_due"
    await people.drain()
    finished_at = (await people.rows("SELECT finished_at FROM rounds WHERE day = %s", DAY))[0]["finished_at"]
    await people.service.finishing.expire_again(DAY, people.service.settings.shards, finished_at)


async def void(people: People) -> None:
    await checking_in(people)
    assert await people.service.voiding.void(DAY, "an outage") == "ok"
    assert await people.pay(18, paid_at=IN_TIME) == "refund_due"


async def void_and_finished(people: People) -> None:
    await void(people)
    await people.finish()


MOMENTS: dict[str, Callable[[People], Awaitable[None]]] = {
    "joining": joining,
    "waiting": waiting,
    "checking in": checking_in,
    "closed": stopped_before("_split"),
    "split": stopped_before("_publish"),
    "published": stopped_before("_open_claiming"),
    "settled": settled,
    "half claimed": half_claimed,
    "finished": finished,
    "void": void,
    "void and finished": void_and_finished,
}


async def memory(people: People) -> dict[str, Any]:
    """Every key of the round and of users; a counter of 0 is the same as none, and an empty stream as no stream."""
    redis: Any = people.service.redis
    found: dict[str, Any] = {}
    for shard in range(people.service.settings.shards):
        for noun in keys.NOUNS:
            name = keys.name(DAY, shard, noun)
            if noun == "packets":
                found[name] = await redis.lrange(name, 0, -1)
            elif noun == "outbox":
                assert await redis.xlen(name) == 0
            else:
                found[name] = await redis.hgetall(name)
            if noun == "totals":
                found[name] = {field: count for field, count in found[name].items() if count != b"0"}
    users = keys.name(keys.USERS, 0, "flags")
    found[users] = await redis.hgetall(users)
    return {name: value for name, value in found.items() if value}


async def lifetimes(people: People) -> set[str]:
    """The keys of the round that expire, but for the streams: there is none where nothing waits in it."""
    redis: Any = people.service.redis
    names = [name async for name in redis.scan_iter(f"clock:{{{DAY}.*")]
    return {name.decode() for name in names if not name.endswith(b":outbox") and await redis.pttl(name) > 0}


async def answers(people: People) -> dict[str, Any]:
    """What every user is told by every verb, at this moment of the game's clock. Changes nothing."""
    asking = people.service.asking
    verbs = people.service.verbs
    home = people.service.home
    said: dict[str, Any] = {}

    async def ask(name: str, call: Awaitable[Any]) -> None:
        answer = await call
        data = msgspec.to_builtins(answer.data)
        if "summary" in data:
            del data["summary"]["server_time"]
        said[name] = (answer.word, data)

    for uid in USERS:
        now = time.monotonic()
        extra = Extra(mobile="13800000000", nickname="x", openId=f"open-{uid}")
        asking.totals = type(asking.totals)(people.service.redis)
        await ask(f"{uid} status", verbs.check_in_status(uid, now))
        await ask(f"{uid} summary", home.summary(uid, None, now))
        if people.service.time.now_ms() < at("00:00", 1):
            await ask(f"{uid} join", verbs.join(uid, extra, now))
        elif not at("05:00", 1) <= people.service.time.now_ms() < at("08:00", 1):
            await ask(f"{uid} check_in", verbs.check_in(uid, now))
        if people.service.time.now_ms() < at("08:05", 1):
            await ask(f"{uid} claim", verbs.claim(uid, now))
    for payment in await people.rows("SELECT uid, transaction_id FROM payments"):
        said[f"{payment['uid']} pay"] = await people.pay(payment["uid"], payment["transaction_id"])
    return said


async def lose(people: People, *shards: int) -> None:
    """Everything, or everything of some shards."""
    redis: Any = people.service.redis
    if not shards:
        await redis.flushall()
    for shard in shards:
        for noun in keys.NOUNS:
            await redis.delete(keys.name(DAY, shard, noun))


@pytest.mark.parametrize("shards", [1, 8])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_every_key_is_what_it_was_and_every_verb_answers_as_before(
    shared: Settings, moment: str, shards: int
) -> None:
    async with new_world(shared, shards=shards, fee_bps=1000) as service:
        people = People(service)
        await MOMENTS[moment](people)
        await people.drain()
        told = await answers(people)
        await people.drain()
        before, expiring = await memory(people), await lifetimes(people)
        await lose(people)
        forget(people)
        with pytest.raises(Unavailable):
            await people.pay(1)
        rebuilt = await rebuild_lost(service)
        assert rebuilt == [*(f"{DAY}.{shard}" for shard in range(shards)), "users"]
        assert await memory(people) == before
        assert await lifetimes(people) == expiring
        assert await answers(people) == told
        await people.drain()
        assert await memory(people) == before
        assert await rebuild_lost(service) == []


@pytest.mark.parametrize("moment", ["checking in", "closed", "split", "published", "half claimed"])
async def test_a_rebuilt_round_goes_on_to_its_end(shared: Settings, moment: str) -> None:
    async with new_world(shared, shards=3) as service:
        people = People(service)
        await MOMENTS[moment](people)
        await people.drain()
        await lose(people)
        await rebuild_lost(service)
        if moment == "checking in":
            await people.check_in(10)
        await people.settle()
        [packet] = await people.claim(2)
        assert packet >= 0
        await people.finish()
        [row] = await people.rows("SELECT * FROM rounds WHERE day = %s", DAY)
        assert row["state"] == "finished"
        claims = await people.rows("SELECT packet_fen FROM claims WHERE day = %s", DAY)
        assert len(claims) == row["winners"]
        assert sum(claim["packet_fen"] for claim in claims) == row["pot_fen"]
        assert await service.store.all("stray_claims", day=DAY, limit=1) == []
        assert await people.balance(f"pool:{DAY}") == 0
        ranks = await people.rows("SELECT uid, rank FROM check_ins ORDER BY uid")
        per_shard = [[r["rank"] for r in ranks if keys.shard_of(r["uid"], 3) == shard] for shard in range(3)]
        assert [sorted(found) for found in per_shard] == [list(range(1, len(found) + 1)) for found in per_shard]


async def test_new_orders_after_a_rebuild_have_new_ids(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await joining(people)
        await people.drain()
        await lose(people)
        await rebuild_lost(service)
        await people.join(101, 102)
        await people.drain()
        ids = await people.rows("SELECT order_id FROM orders")
        assert len({row["order_id"] for row in ids}) == len(ids) == len(USERS) + 2


async def test_what_is_long_or_strange_comes_back_byte_for_byte(shared: Settings) -> None:
    """MessagePack has several forms for texts and numbers; the scripts' library and ours must choose the same."""
    async with new_world(shared) as service:
        people = People(service)
        for uid, open_id in ((2**53 - 1, "o" * 31), (2, "o" * 32), (3, "微" * 42), (4, "x" * 128), (5, "\U0001f305")):
            extra = Extra(mobile="1", nickname="n", openId=open_id)
            answer = await service.verbs.join(uid, extra, time.monotonic())
            people.orders[uid] = answer.data["order_no"]
        for uid in range(10, 300):
            people.orders[uid] = ""
        await people.join(*range(10, 300))  # numbers that need two bytes
        assert await people.pay(10, "t" * 128) == "paid"
        await people.drain()
        before = await memory(people)
        await lose(people)
        await rebuild_lost(service)
        assert await memory(people) == before


# -- some of it


async def test_one_lost_shard_is_completed_and_the_others_are_left_alone(shared: Settings) -> None:
    async with new_world(shared, shards=8) as service:
        people = People(service)
        await half_claimed(people)
        await people.drain()
        before = await memory(people)
        lost = keys.shard_of(3, 8)
        await lose(people, lost)
        redis: Any = service.redis
        other = (lost + 1) % 8
        await redis.hset(keys.name(DAY, other, "round"), "note", "left alone")
        before[keys.name(DAY, other, "round")][b"note"] = b"left alone"
        assert await rebuild_lost(service) == [f"{DAY}.{lost}"]
        assert await memory(people) == before


async def test_what_was_rebuilt_in_part_is_rebuilt_whole(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild that dies leaves no round hash, so that nobody is served from half of it."""
    async with new_world(shared) as service:
        people = People(service)
        await half_claimed(people)
        await people.drain()
        before = await memory(people)
        await lose(people)
        with monkeypatch.context() as patch:
            patch.setattr("clock.audit.rebuild.round_fields", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await rebuild_lost(service)
        forget(people)
        with pytest.raises(Unavailable):
            await service.verbs.claim(1, time.monotonic())
        assert await rebuild_lost(service) == [f"{DAY}.0", "users"]
        assert await memory(people) == before


async def test_the_count_of_callbacks_that_were_kept_aside_comes_back(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await people.join(1)
        for raw in (b"one", b"other"):
            await service.incoming.quarantine("platform", "malformed", "", raw, time.monotonic())
        await people.drain()
        before = await memory(people)
        assert before[keys.name(DAY, 0, "totals")][b"quarantined"] == b"2"
        await lose(people)
        await rebuild_lost(service)
        assert await memory(people) == before


async def test_what_still_waits_in_a_stream_is_taken_along(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        await joining(people)
        await people.drain()
        await people.join(101)
        redis: Any = service.redis
        before = await memory_of_members(people)
        await redis.delete(*keys.names(DAY, 0, ("round", "members", "totals", "payments")))
        await rebuild_lost(service)
        assert await memory_of_members(people) == before
        assert await outbox.depth(redis, DAY, 1) == 0


async def memory_of_members(people: People) -> Any:
    redis: Any = people.service.redis
    return await redis.hgetall(keys.name(DAY, 0, "members"))


@pytest.mark.parametrize(("step", "word"), [("close_shards", "paid"), ("drain", "refund_due")])
async def test_a_voiding_that_redis_was_lost_in_comes_to_its_end(
    shared: Settings, monkeypatch: pytest.MonkeyPatch, step: str, word: str
) -> None:
    """Before its shards were closed, or after: what was closed takes nobody any more."""

    async def stop(*_: Any) -> None:
        raise Unavailable("the power is out")

    async with new_world(shared) as service:
        people = People(service)
        await checking_in(people)
        await people.drain()
        with monkeypatch.context() as patch:
            patch.setattr(Ending, step, stop)
            with pytest.raises(Unavailable):
                await service.voiding.void(DAY, "an outage")
        await people.drain()
        await lose(people)
        await rebuild_lost(service)
        assert await people.pay(18, paid_at=IN_TIME) == word
        assert await service.voiding.void(DAY, "an outage") == "ok"
        assert await people.balance(f"pool:{DAY}") == 0
        assert (await service.verbs.check_in(10, time.monotonic())).word == "voided"


async def test_who_joined_a_moment_ago_is_rebuilt_in_no_time(settings: Settings) -> None:
    """Postgres looks how large a table is once a minute at most. Planned as if nobody were there, this takes a
    quarter of a minute, and for a hundred thousand some minutes."""
    async with new_world(settings) as service:
        people, first = People(service), order_no.first_order_id(DAY, 0)
        await service.opener.open_round(DAY)
        await people.rows(
            "INSERT INTO orders SELECT %s, uid, 'TTC' || lpad(uid::text, 26, '0'), uid + %s, 100, 'open', 0"
            " FROM generate_series(1, 20000) AS uid",
            DAY,
            first,
        )
        await people.rows(
            "INSERT INTO payments SELECT day, order_no, uid, uid, 100, 0, 0, 'paid', 'platform', '' FROM orders"
        )
        await people.rows("INSERT INTO members SELECT day, uid, 100, false, 0 FROM orders")
        await people.rows("INSERT INTO check_ins SELECT day, uid, 0, uid FROM orders")
        await people.rows("INSERT INTO outbox_positions VALUES (%s, 0, '0-1')", DAY)
        await lose(people)
        async with asyncio.timeout(5):
            assert await rebuild_lost(service) == [f"{DAY}.0"]
        people.it_is("06:00", 1)
        assert await service.verbs.check_in_status(20_000, time.monotonic()) == Answer("ok", {"is_check_in": 1})


# -- none of it


async def test_a_round_that_was_never_used_opens_anew(shared: Settings) -> None:
    async with new_world(shared) as service:
        people = People(service)
        rules = await service.opener.open_round(DAY)
        [before] = await people.rows("SELECT seed, seed_hash FROM rounds WHERE day = %s", DAY)
        await lose(people)
        assert await rebuild_lost(service) == []
        forget(people)
        await people.members(1)
        redis: Any = service.redis
        round_ = await redis.hgetall(keys.name(DAY, 0, "round"))
        assert round_[b"seed_hash"].decode() == before["seed_hash"].hex()
        assert msgspec.json.decode(round_[b"rules"]) == msgspec.to_builtins(rules)


async def test_verbs_and_callbacks_of_a_lost_round_are_answered_503_until_it_is_back(api: Api) -> None:
    people = People(api.service)
    await people.members(1, 2)
    await people.join(3)
    people.it_is("06:00", 1)
    await people.check_in(1)
    await people.drain()
    redis: Any = api.service.redis
    verbs = ("/api/check-in/status", "/api/check-in", "/api/claim", "/api/summary", "/api/join")

    async def everything() -> dict[str, tuple[int, str]]:
        found = {}
        for path in verbs:
            extra = {"mobile": "1", "nickname": "n", "openId": "open-1"}
            status, reply = await api.send("POST", path, {"uid": 1, "extra": extra}, api.token(1))
            found[path] = (status, reply["code"])
        for uid in (1, 3):
            body = {"amount": STAKE, "buyerId": f"open-{uid}", "notify_time": IN_TIME, "transactionId": f"T{uid}"}
            raw = msgspec.json.encode({"order_no": people.orders[uid], "extra": body})
            status, reply = await api.send("POST", "/callbacks/platform", raw, Signatures(WEBHOOK_SECRET).sign(raw))
            found[f"callback {uid}"] = (status, reply["code"])
        return found

    async def pays() -> int:
        return (await api.send("POST", "/dev/pay", {"order_no": people.orders[3]}))[0]

    for remembers in (True, False):
        await redis.flushall()
        if not remembers:
            api.service.asking.rounds.clear()
        assert set((await everything()).values()) == {(503, "unavailable")}
        assert (await pays(), (await api.send("GET", "/readyz"))[0]) == (503, 503)
        await rebuild_lost(api.service)
    assert await everything() == {
        "/api/check-in/status": (200, "ok"),
        "/api/check-in": (200, "already_checked_in"),
        "/api/claim": (200, "too_early"),
        "/api/summary": (200, "ok"),
        "/api/join": (200, "settle_first"),
        "callback 1": (200, "refund_due"),
        "callback 3": (200, "paid"),
    }
    assert (await api.send("GET", "/readyz"))[0] == 200
