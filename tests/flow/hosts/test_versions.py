"""Two versions side by side while people play: the next one has a field more in two events, and an event of its own."""

import asyncio
import hashlib
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from clock.config import Settings
from clock.game import keys
from clock.game.scripts import load
from clock.operators.watch import alarms
from clock.service import Service
from tests.conftest import DAY, Api
from tests.flow.hosts.stage import (
    another,
    asked_at,
    counted,
    ended,
    everything_agrees,
    it_is,
    next_version,
    said,
    settled,
)
from tests.flow.operators.stage import codes, seen
from tests.flow.stage import ROOT, answering, working
from tests.flow.switch.stage import books_have, seconds_until
from tests.raw import Redis

pytestmark = pytest.mark.long

SECONDS = 30.0
PEOPLE = range(1, 17)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next_version(tmp_path_factory.mktemp("next"))


def newer_sha(newer: Path, verb: str) -> str:
    """The digest of the next version's script, whose event the loader of this one does not know."""
    ours, theirs = ((root / "lua" / f"{verb}.lua").read_text("utf-8") for root in (ROOT, newer))
    return hashlib.sha1(load(verb).source.replace(ours, theirs).encode(), usedforsecurity=False).hexdigest()


async def lengths(redis: Redis, tag: str, shards: int) -> set[int]:
    """Of the entries of this event that are in the outbox."""
    streams = [await redis.xrange(keys.name(DAY, shard, "outbox")) for shard in range(shards)]
    entries = [msgspec.msgpack.decode(fields[b"e"]) for stream in streams for _, fields in stream]
    return {len(entry) for entry in entries if entry[0] == tag}


async def all_say(apis: tuple[Api, Api], path: str, people: range, word: str) -> None:
    """Half of them ask this version, half the next one."""
    replies = await asyncio.gather(*(apis[uid % 2].post(path, uid) for uid in people))
    assert {reply["code"] for reply in replies} == {word}


async def join_and_pay(apis: tuple[Api, Api]) -> None:
    """Whoever joined at one version pays at the other."""
    orders = await asyncio.gather(*(apis[uid % 2].join(uid) for uid in PEOPLE))
    paid = [apis[1 - uid % 2].pay(order["data"]["order_no"], uid) for uid, order in zip(PEOPLE, orders, strict=True)]
    assert {reply["code"] for _, reply in await asyncio.gather(*paid)} == {"paid"}


async def test_a_day_is_played_at_two_versions(
    settings: Settings, service: Service, redis: Redis, newer: Path, tmp_path: Path
) -> None:
    ours, theirs, old_log, new_log = settings, another(settings), tmp_path / "old.log", tmp_path / "new.log"
    async with AsyncExitStack() as stack:
        old, *_ = await asyncio.gather(
            stack.enter_async_context(working(ours, old_log)),
            stack.enter_async_context(answering(ours, tmp_path / "a.log")),
            stack.enter_async_context(answering(theirs, tmp_path / "b.log", root=newer)),
        )
        apis = (await stack.enter_async_context(asked_at(ours)), await stack.enter_async_context(asked_at(theirs)))
        await it_is(apis[0], "2026-11-22T20:00:00")
        await join_and_pay(apis)
        await seconds_until(counted(service, "members", len(PEOPLE)), SECONDS)

        await it_is(apis[0], "2026-11-23T05:00:00")
        await all_say(apis, "/api/check-in", PEOPLE[:8], "checked_in")
        await seconds_until(counted(service, "check_ins", 8), SECONDS)  # the old worker alone

        new = await stack.enter_async_context(working(ours, new_log, root=newer))
        await all_say(apis, "/api/check-in", PEOPLE[8:12], "checked_in")
        await seconds_until(lambda: starts(new_log), SECONDS)
        await all_say(apis, "/api/check-in", PEOPLE[12:14], "checked_in")
        await seconds_until(counted(service, "check_ins", 14), SECONDS)  # both
        assert await lengths(redis, "checked_in", 2) == {4, 5}
        assert await ended(old) == 0

        await it_is(apis[1], "2026-11-23T08:05:00")
        await seconds_until(lambda: settled(apis[0]), SECONDS)
        await all_say(apis, "/api/claim", PEOPLE[:10], "claimed")
        await seconds_until(counted(service, "claims", 10), SECONDS)  # the new worker alone
        assert await lengths(redis, "claimed", 2) == {7, 8}
        await everything_agrees(apis[1])
        assert new.returncode is None
    shas = [load("check_in").sha, newer_sha(newer, "check_in")]
    assert shas[0] != shas[1] and await redis.script_exists(*shas) == [True, True]
    assert [line for log in (old_log, new_log) for line in said(log) if line["level"] == "error"] == []


async def starts(log: Path) -> bool:
    return any(line["event"] == "worker_started" for line in said(log))


async def test_an_old_worker_leaves_what_it_cannot_read_to_a_newer_one(
    api: Api, redis: Redis, newer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "OUTBOX_OLD_MS", 500)
    settings, log = api.settings, tmp_path / "old.log"
    stopped, other = (next(uid for uid in PEOPLE if keys.shard_of(uid, 2) == shard) for shard in range(2))
    async with working(settings, log) as old:
        await it_is(api, "2026-11-22T20:00:00")
        await api.member(stopped)
        await seconds_until(lambda: books_have(settings, "members", stopped), SECONDS)
        entry = msgspec.msgpack.encode(["nudged", 1_000 * 86_400_000_000, [stopped]])
        entry_id = (await redis.xadd(keys.name(DAY, 0, "outbox"), {"e": entry})).decode()
        await api.post("/api/check-in/status", stopped)
        later = next(uid for uid in range(100, 200) if keys.shard_of(uid, 2) == 0)
        await api.member(later)
        await api.member(other)
        await seconds_until(lambda: books_have(settings, "members", other), SECONDS)

        async def rings() -> bool:
            return "outbox_old" in codes(await seen(api))

        await seconds_until(rings, SECONDS)
        [line] = [line for line in said(log) if line["level"] == "error"]
        assert (line["event"], line["shard"]) == ("outbox_unreadable", 0)
        assert not await books_have(settings, "members", later)
        assert await redis.xrange(keys.name(DAY, 0, "outbox"), entry_id, entry_id)

        async with working(settings, root=newer):
            await seconds_until(lambda: books_have(settings, "members", later), SECONDS)
            assert (await books_nickname(api, stopped)) == "nudged"
            await seconds_until(lambda: quiet(api), SECONDS)
        assert old.returncode is None


async def quiet(api: Api) -> bool:
    return "outbox_old" not in codes(await seen(api))


async def books_nickname(api: Api, uid: int) -> str:
    async with api.service.store.transaction() as connection:
        found = await (await connection.execute("SELECT nickname FROM profiles WHERE uid = %s", [uid])).fetchone()
    assert found is not None
    return str(found["nickname"])
