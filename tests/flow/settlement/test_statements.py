"""A round's statements: written with their facts, chained, and true of the books; and the paths of users' leaves."""

import asyncio
import base64
import hashlib
import random
from datetime import date
from typing import Any

import msgspec
import psycopg
import pytest

from clock.audit.rebuild import rebuild_lost
from clock.config import Settings
from clock.domain.outcomes import Answer, Unavailable
from clock.domain.rounds import Rules, windows
from clock.fair import leaves, notes, trees
from clock.fair.leaves import Kind
from clock.fair.notes import verifier_of, verify
from clock.fair.statements import Closed, Opened, Published, Statement, Void, digest, drawn_from, parse
from clock.fair.trees import EMPTY, leaf_hash, root_above, root_of
from clock.game import keys
from clock.http.players import public
from clock.proofs import growing, paths
from clock.proofs.paths import proof
from clock.rounds.ending import BooksDiffer
from clock.service import Service
from tests.conftest import DAY, STATEMENT_KEY
from tests.flow.settlement.stage import (
    AFTER,
    BEFORE,
    CROWD,
    RICH,
    Crowd,
    audited,
    expect_void,
    finished,
    manifest,
    opened_by_an_earlier_version,
    play,
    query,
    row_of,
    settle_until,
    settled,
    stop,
)
from tests.model.world import forgetful, new_world, service_with
from tests.raw import raw

KINDS: tuple[Kind, ...] = ("stake", "checked_in", "packet")


async def shown(service: Service, day: date) -> dict[str, Any]:
    answer = await public.proof(service, day)
    assert answer.word == "ok"
    return answer.data


async def statements(service: Service, day: date) -> dict[str, Statement]:
    """Those that anybody sees, verified with the keys that stand beside them."""
    data = await shown(service, day)
    verifiers = [verifier_of(key) for key in data["keys"]]
    signed = {kind: note for kind, note in data["statements"].items() if note}
    found = {}
    for kind, note in signed.items():
        text, by = verify(note, verifiers)
        assert by == verifiers
        found[kind] = parse(text)
        assert (found[kind].round, found[kind].origin) == (day.isoformat(), "PeterNeumann")
    return found


async def texts(service: Service, day: date) -> dict[str, str]:
    return {row["kind"]: row["text"] for row in await query(service, "SELECT * FROM statements WHERE day = %s", day)}


def salt(row: dict[str, Any], kind: Any, uid: int) -> str:
    return leaves.salt_of(row["salt_key"], kind, uid)


async def leaves_of(service: Service, day: date) -> dict[str, list[str]]:
    """As docs/fair.md orders them, from the books, without a query of the service's own."""
    row, of = await row_of(service, day), day.isoformat()
    shards = msgspec.convert(row["rules"], Rules).shards
    members = await query(service, "SELECT * FROM members WHERE day = %s", day)
    orders = {one["uid"]: one["order_no"] for one in await query(service, "SELECT * FROM orders WHERE day = %s", day)}
    awake = await query(service, "SELECT * FROM check_ins WHERE day = %s", day)
    packets = await query(service, "SELECT * FROM packets WHERE day = %s ORDER BY shard, index", day)
    members.sort(key=lambda one: (keys.shard_of(one["uid"], shards), one["uid"]))
    awake.sort(key=lambda one: (keys.shard_of(one["uid"], shards), one["rank"]))
    return {
        "stake": [
            f"clock/leaf/v1 stake\n{of}\n{keys.shard_of(one['uid'], shards)}\n{one['uid']}\n{orders[one['uid']]}\n"
            f"{one['stake_fen']}\n{salt(row, 'stake', one['uid'])}\n"
            for one in members
        ],
        "checked_in": [
            f"clock/leaf/v1 checked_in\n{of}\n{keys.shard_of(one['uid'], shards)}\n{one['rank']}\n{one['uid']}\n"
            f"{one['at_ms']}\n{salt(row, 'checked_in', one['uid'])}\n"
            for one in awake
        ],
        "packet": [
            f"clock/leaf/v1 packet\n{of}\n{one['shard']}\n{one['index'] + 1}\n{one['fen']}\n" for one in packets
        ],
    }


def root(texts: list[str]) -> bytes:
    return root_of([leaf_hash(text.encode()) for text in texts])


async def expect_proved(service: Service, day: date, crowd: Crowd) -> dict[str, Statement]:
    """O, C and P name each other, and say what the books say; every user's leaf is in the trees."""
    said, text = await statements(service, day), await texts(service, day)
    assert list(said) == ["opened", "closed", "published"]
    opened, closed, published = said.values()
    assert isinstance(opened, Opened) and isinstance(closed, Closed) and isinstance(published, Published)
    row, expected = await row_of(service, day), await leaves_of(service, day)
    rules = msgspec.convert(row["rules"], Rules)
    assert opened.rules == msgspec.to_builtins(rules) and opened.seed_hash == row["seed_hash"].hex()
    assert opened.windows == msgspec.to_builtins(windows(day, rules))
    for name in ("members", "winners", "late", "pool_fen", "refunded_fen", "forfeited_fen", "fee_fen"):
        assert getattr(closed, name) == row[name]
    for name in ("carried_in_fen", "bonus_fen", "pot_fen"):
        assert getattr(closed, name) == row[name]
    assert closed.opened == digest(text["opened"]) and published.closed == digest(text["closed"])
    assert closed.closes_ms == [opened.windows["check_in_closes_ms"]] * rules.shards
    assert [sum(one) for one in zip(*closed.shards, strict=True)] == [row["members"], row["winners"]]
    assert hashlib.sha256(bytes.fromhex(published.seed)).hexdigest() == opened.seed_hash
    assert bytes.fromhex(published.drawn) == drawn_from(row["seed"], b"", text["closed"]) == row["drawn"]
    for kind, tree in zip(KINDS, (closed.stakes, closed.checked_in, published.packets), strict=True):
        assert (tree.size, tree.root) == (len(expected[kind]), root(expected[kind]))
    for uid in crowd.everybody:
        for kind, tree in zip(KINDS, (closed.stakes, closed.checked_in, published.packets), strict=True):
            await expect_leaf(await proof(service.store, day, kind, uid), uid, kind, crowd, tree, expected[kind])
    return said


async def expect_leaf(answer: Answer, uid: int, kind: str, crowd: Crowd, tree: Any, expected: list[str]) -> None:
    if kind != "stake" and uid not in crowd.awake:
        assert answer.word == "not_checked_in"
        return
    data = answer.data
    assert base64.b64decode(data["root"]) == tree.root and data["size"] == tree.size
    assert data["leaf"] == expected[data["index"]]
    assert kind == "packet" or f"\n{uid}\n" in data["leaf"]
    path = [bytes.fromhex(one) for one in data["path"]]
    assert root_above(data["leaf"].encode(), data["index"], data["size"], path) == tree.root


# -- whole rounds


async def test_rounds_are_proved_and_chained(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, **RICH) as service:
        await settled(service, BEFORE, Crowd(sleepers=3))
        await settled(service, DAY, CROWD)
        first = (await expect_proved(service, BEFORE, Crowd(sleepers=3)))["closed"]
        second = (await expect_proved(service, DAY, CROWD))["closed"]
        assert isinstance(first, Closed) and isinstance(second, Closed)
        assert (first.previous, second.previous) == ("none", digest((await texts(service, BEFORE))["closed"]))
        assert (first.checked_in.root, second.carried_in_fen) == (EMPTY, 270)
        data = await shown(service, DAY)
        assert data["missing"] == ["beacon", "witnesses"]
        assert len(data["keys"]) == 1


async def test_a_round_nobody_joined_is_proved(process: Service) -> None:
    await settled(process, DAY, Crowd())
    await expect_proved(process, DAY, Crowd())


async def test_leaves_of_several_tiles(process: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (trees, growing, paths):
        monkeypatch.setattr(place, "TILE", 4)
    crowd = Crowd(winners=9, sleepers=11)
    await settled(process, DAY, crowd)
    await expect_proved(process, DAY, crowd)
    sizes = await query(process, "SELECT kind, size, length(tiles) AS tiles FROM trees ORDER BY kind")
    assert [tuple(row.values()) for row in sizes] == [("checked_in", 9, 96), ("packet", 9, 96), ("stake", 20, 160)]


async def test_a_longer_check_in_is_stated_by_shard(process: Service) -> None:
    await play(process, DAY, CROWD)
    await query(
        process,
        "INSERT INTO extensions (day, shard, cause, reason, by_whom, since_ms, by_ms, closes_ms, asleep, at_ms)"
        " VALUES (%s, 1, 'outage', '', '', 0, 60000, 0, 0, 0)",
        DAY,
    )
    stop(process, DAY, "08:07")
    assert await process.settling.settle(DAY) == "settled"
    closed = (await statements(process, DAY))["closed"]
    assert isinstance(closed, Closed)
    assert closed.closes_ms[1] - closed.closes_ms[0] == 60_000


async def test_rounds_that_are_sealed_at_once_are_one_chain(process: Service, settings: Settings) -> None:
    days = [BEFORE, DAY]
    for day in days:
        await play(process, day, CROWD)
    stop(process, DAY, "08:05")
    async with service_with(settings, shards=2) as other:
        other.time.setting = process.time.setting
        await asyncio.gather(*(one.settling.settle(day) for one, day in zip((process, other), days, strict=True)))
    closed = [(await texts(process, day))["closed"] for day in days]
    before = [parse(text).previous for text in closed]  # type: ignore[union-attr]
    assert sorted(before) in (sorted(["none", digest(closed[0])]), sorted(["none", digest(closed[1])]))


# -- taken up again


@pytest.mark.parametrize("state", ["closed", "sealed", "split", "published"])
async def test_what_was_stated_stays_whoever_goes_on(
    process: Service, settings: Settings, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, state)
    before = await texts(process, DAY)
    seen = [kind for kind, note in (await shown(process, DAY))["statements"].items() if note]
    assert seen == (["opened"] if state == "closed" else ["opened", "closed"]), "P has the seed"
    async with service_with(settings, shards=2) as other:
        stop(other, DAY, "08:06")
        for _ in range(2):
            assert await other.settling.settle(DAY) == "settled"
    assert (await texts(process, DAY)).items() >= before.items()
    await audited(process, DAY)
    await expect_proved(process, DAY, CROWD)


async def test_a_redis_that_is_lost_between_c_and_the_draw_changes_neither(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, "sealed")
    before = await texts(process, DAY)
    await raw(process.redis).flushall()
    assert await rebuild_lost(process)
    assert await process.settling.settle(DAY) == "settled"
    assert (await texts(process, DAY))["closed"] == before["closed"]
    await expect_proved(process, DAY, CROWD)
    await finished(process, DAY)


async def test_books_that_grow_while_they_are_read_are_not_stated(
    process: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, "closed")
    read = process.settling._trees

    async def grows(round_: Any) -> Any:
        trees = await read(round_)
        await query(process, "INSERT INTO members VALUES (%s, 99, 100, false, 0)", DAY)
        return trees

    with monkeypatch.context() as patch, pytest.raises(BooksDiffer, match="9 stakes of 10"):
        patch.setattr(process.settling, "_trees", grows)
        await process.settling.settle(DAY)
    assert list(await texts(process, DAY)) == ["opened"]
    assert (await row_of(process, DAY))["state"] == "closed"


# -- called off, or of an earlier version


async def test_a_void_round_is_in_the_chain(process: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await settled(process, BEFORE, CROWD)
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, "closed")
    for _ in range(2):
        assert await process.voiding.void(DAY, "rain") == "ok"
    await expect_void(process, CROWD)
    await settled(process, AFTER, Crowd(winners=1))
    said, text = await statements(process, DAY), await texts(process, DAY)
    assert list(said) == ["opened", "void"]
    void, after = said["void"], (await statements(process, AFTER))["closed"]
    assert isinstance(void, Void) and isinstance(after, Closed)
    assert (void.opened, void.closed, void.reason) == (digest(text["opened"]), "none", "rain")
    assert void.previous == digest((await texts(process, BEFORE))["closed"])
    assert after.previous == digest(text["void"])
    assert (await proof(process.store, DAY, "stake", 1)).word == "voided"


async def test_a_round_that_was_opened_before_there_were_statements_is_played_by_its_seed(process: Service) -> None:
    await play(process, DAY, CROWD)
    await opened_by_an_earlier_version(process, DAY)
    stop(process, DAY, "08:05")
    assert await process.settling.settle(DAY) == "settled"
    row = await audited(process, DAY)
    assert row["drawn"] == row["seed"]
    data = await shown(process, DAY)
    assert (data["keys"], set(data["statements"].values())) == ([], {None})
    assert data["missing"] == ["statements", "beacon", "witnesses"]
    assert (await proof(process.store, DAY, "stake", 1)).word == "not_found"
    await finished(process, DAY)
    assert (await public.figures(process, DAY)).data["drawn"] == row["seed"].hex()


# -- paths


async def test_a_path_is_asked_for_too_early_or_by_whom_it_does_not_concern(process: Service) -> None:
    async def words(uid: int) -> list[str]:
        return [(await proof(process.store, DAY, kind, uid)).word for kind in KINDS]

    assert await words(1) == ["not_found"] * 3
    await play(process, DAY, CROWD)
    assert await words(1) == ["not_settled"] * 3
    stop(process, DAY, "08:05")
    await process.settling.settle(DAY)
    assert await words(4711) == ["not_joined"] * 3
    assert await words(CROWD.everybody[-1]) == ["ok", "not_checked_in", "not_checked_in"]


async def test_a_packet_has_no_path_before_claiming_opens(process: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await play(process, DAY, CROWD)
    stop(process, DAY, "08:05")
    await settle_until(process, monkeypatch, "published")
    assert [(await proof(process.store, DAY, kind, 1)).word for kind in KINDS] == ["ok", "ok", "not_settled"]
    assert await manifest(process, DAY)


async def test_postgres_and_python_mean_the_same_shard(process: Service) -> None:
    chance = random.Random(16)
    uids = [0, 1, 2**32 - 1, 2**32, 2**53 - 1, *(chance.randrange(2 ** chance.randrange(1, 54)) for _ in range(2_000))]
    for shards in (1, 2, 7, 256):
        statement = "SELECT shard_of(uid, %s) AS shard FROM unnest(%s::bigint[]) WITH ORDINALITY u (uid, n) ORDER BY n"
        found = await query(process, statement, shards, uids)
        assert [row["shard"] for row in found] == [keys.shard_of(uid, shards) for uid in uids]


# -- keys


async def test_a_new_key_signs_beside_the_old_one_and_then_alone(settings: Settings) -> None:
    new = notes.new_key("PeterNeumann")
    old_key, new_key = (str(notes.signers_of(key)[0].verifier) for key in (STATEMENT_KEY, new))
    async with forgetful(settings), new_world(settings, shards=2) as service:
        await settled(service, BEFORE, CROWD)
        await play(service, DAY, CROWD)
        async with service_with(settings, statement_key=f"{new} {STATEMENT_KEY}", shards=2) as both:
            stop(both, DAY, "08:05")
            assert await both.settling.settle(DAY) == "settled"
        async with service_with(settings, statement_key=new, shards=2) as alone:
            await settled(alone, AFTER, CROWD)
            assert [(await shown(alone, day))["keys"] for day in (BEFORE, DAY, AFTER)] == [
                [old_key],
                [old_key, new_key],
                [new_key],
            ]
            note = (await shown(alone, DAY))["statements"]["closed"]
            for key in (old_key, new_key):
                assert verify(note, [verifier_of(key)])[1] == [verifier_of(key)]


async def test_without_a_key_no_round_is_opened(settings: Settings) -> None:
    async with forgetful(settings), new_world(settings, statement_key="") as service:
        with pytest.raises(Unavailable, match="CLOCK_STATEMENT_KEY"):
            await service.opener.open_round(DAY)
        assert await query(service, "SELECT day FROM rounds") == []


async def test_an_earlier_version_does_not_split_a_round_that_has_promised_more(process: Service) -> None:
    """Its worker may run for a while beside ours. It knows nothing of C, and would draw from the seed alone."""
    await process.opener.open_round(DAY)
    with pytest.raises(psycopg.errors.CheckViolation):
        await query(process, "UPDATE rounds SET state = 'split' WHERE day = %s", DAY)


async def test_statements_cannot_be_changed(process: Service) -> None:
    await process.opener.open_round(DAY)
    for statement in ("UPDATE statements SET text = ''", "DELETE FROM statements", "TRUNCATE statement_keys"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            await query(process, statement)
