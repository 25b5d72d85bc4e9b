"""Settling, voiding and finishing a round: small state machines kept in Postgres, every step repeatable.

    open ──▶ closed ──▶ split ──▶ published ──▶ settled ──▶ finished
      └─────────┴──────────┴──▶ voiding ──▶ void

*closed*: every shard's members and winners are fixed, all of it is in the books, and the books add up to what
the shards said. *split*: the channel was asked about unpaid orders; the manifest and the refunds are written.
*published*: every packet is in Redis.
*settled*: claiming is open. *finished*: every winner has been credited.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

import msgspec
import structlog
from psycopg import sql
from redis.exceptions import RedisError

from clock.books import ledger, outbox
from clock.books.store import SETTLEMENT_LOCK, Connection, Store, one, rows
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import WAIT_CAP_MS, Rules, Windows, windows
from clock.domain.split import Split, fee, split
from clock.game import keys
from clock.game.client import call
from clock.game.gametime import GameTime
from clock.game.scripts import Value, load, of_users
from clock.payments import outgoing
from clock.payments.questions import Questions
from clock.rounds.opening import Opener
from clock.rounds.standings import Standings

log = structlog.get_logger()

CLOSE, PUBLISH, SETTLE, CLAIM, FINISH = (load(v) for v in ("close", "publish", "settle", "claim", "finish"))

CHUNK = 500
PAGE = 20_000
AT_ONCE = 16
"""Chunks on their way at a time: they stay in order on one connection. Where a replica is waited for, one."""
CREDIT_CHUNK = 250
DRAIN_SECONDS = 20.0


class BooksDiffer(Exception):
    """Redis and Postgres do not agree on a round: settlement stops, a person must look."""


class Recorded(msgspec.Struct, kw_only=True):
    """A round as Postgres has it."""

    day: date
    rules: Rules
    at: Windows
    seed: bytes
    state: str
    finished: bool
    swept: bool


class Settlement:
    def __init__(self, store: Store, redis: Any, time: GameTime, opener: Opener, questions: Questions) -> None:
        self._store = store
        self._redis = redis
        self._time = time
        self._opener = opener
        self._questions = questions
        self._standings = Standings(store, redis, time, opener)
        self._at_once = 1 if getattr(redis, "replicated", False) else AT_ONCE
        self._turn = asyncio.Lock()
        """Whoever waits for Postgres' lock holds a connection: one of this process at a time."""

    # -- what operators and the worker ask for

    async def settle(self, day: date) -> str:
        """Take the round as far as ``settled``. Answers ``settled``, ``not_due``, ``round_void`` or
        ``round_not_found``. Raises :class:`BooksDiffer` and :class:`Unavailable`."""
        async with self._alone(day) as round_:
            if round_ is None:
                return "round_not_found"
            if round_.state in ("void", "voiding"):
                return "round_void"
            await self._time.sync(self._redis)
            if self._time.now_ms() < round_.at.settle_ms and round_.state in ("open", "closed"):
                return "not_due"
            steps = {
                "open": self._close,
                "closed": self._split,
                "split": self._publish,
                "published": self._open_claiming,
            }
            while step := steps.get(round_.state):
                round_.state = await step(round_)
                log.info("settlement_step", day=str(day), state=round_.state)
            await self._standings.tally(day)
            return "settled"

    async def count(self, day: date, shards: int) -> None:
        """Carry a settled round into standings and incomes, as far as it is time; what is counted stays so."""
        async with self._alone(day):
            await self._standings.tally(day)
            if await self._standings.all_given(day, shards):
                await self._standings.credit(day)

    async def void(self, day: date, reason: str) -> str:
        """Call the round off; every stake is owed back. Answers ``ok``, ``round_settled`` or ``round_not_found``."""
        async with self._alone(day) as round_:
            if round_ is None:
                return "round_not_found"
            if round_.state == "void":
                return "ok"
            if round_.state != "voiding" and not await self._store.all("start_voiding", day=day, reason=reason):
                return "round_settled"
            await self._void(round_)
            return "ok"

    async def finish(self, day: date) -> bool:
        """Credit winners who did not claim, and let the keys expire; whether it is done."""
        async with self._alone(day) as round_:
            if round_ is None or round_.state not in ("settled", "void"):
                return False
            if self._time.now_ms() < round_.at.claim_closes_ms:
                return False
            return await self._finish(round_)

    async def expire_again(self, day: date, shards: int, finished_at: datetime) -> None:
        """A finished round's outbox got late entries, which are drained now: its keys may expire again, when they would
        have: nobody reads the outbox of a round that stays for longer than :func:`clock.service.live_rounds` thinks."""
        over_ms = int((datetime.now(UTC) - finished_at).total_seconds() * 1000)
        for shard in range(shards):
            await self._call(FINISH, day, shard, max(1, keys.KEEP_MS - over_ms))

    # -- settling, step by step

    async def _close(self, round_: Recorded) -> str:
        await self._close_shards(round_, "settle")
        await self._step(round_, "open", "closed")
        return "closed"

    async def _split(self, round_: Recorded) -> str:
        """One transaction: what is carried in, the figures, the manifest, the refunds."""
        day, rules = round_.day, round_.rules
        if not round_.swept:
            unanswered = await self._questions.ask_all(day, self._time.now_ms())
            await self._store.all("mark_swept", day=day, unanswered=unanswered)
        async with self._store.transaction() as connection:
            books = await one(connection, "count_books", day=day)
            carried_in = int((await one(connection, "take_carried", day=day))["fen"])
            figures = _figures(rules, books, carried_in)
            packet_rules = Split(
                mode=rules.split,
                lucky_count=rules.lucky_count,
                lucky_bps=rules.lucky_bps,
                packet_cap_fen=rules.packet_cap_fen,
            )
            result = await asyncio.to_thread(split, round_.seed, figures["pot_fen"], figures["winners"], packet_rules)
            figures["carried_out_fen"] = result.carried_fen
            figures["smallest_fen"] = min(result.packets_fen, default=None)
            figures["largest_fen"] = max(result.packets_fen, default=None)
            await self._write_manifest(connection, day, iter(result.packets_fen))
            await rows(
                connection,
                "refund_sleepers",
                day=day,
                everybody=figures["winners"] == 0 and rules.nobody == "refund",
                reason="nobody" if figures["winners"] == 0 else "late_member",
                at_ms=self._time.now_ms(),
            )
            await _owe_refunds(connection, day)
            if not await rows(connection, "save_split", day=day, **figures):
                raise Unavailable(f"round {day} was split by another process")
        return "split"

    async def _write_manifest(self, connection: Connection, day: date, packets: Any) -> None:
        closed = await rows(connection, "closed_shards", day=day)
        cursor = connection.cursor()
        async with cursor.copy("COPY packets (day, shard, index, fen) FROM STDIN") as copy:
            for shard in closed:
                own = enumerate(islice(packets, shard["winners"]))
                prefix = f"{day}\t{shard['shard']}\t"
                while chunk := "".join(f"{prefix}{index}\t{fen}\n" for index, fen in islice(own, 10_000)):
                    await copy.write(chunk)

    async def _publish(self, round_: Recorded) -> str:
        for shard in range(round_.rules.shards):
            await self._publish_shard(round_.day, shard)
        await self._step(round_, "split", "published")
        return "published"

    async def _publish_shard(self, day: date, shard: int) -> None:
        """From where an earlier try ended, a page of the manifest at a time; the next is read while one is pushed."""
        page = await self._page(day, shard, await self._redis.llen(keys.name(day, shard, "packets")))
        while page:
            after = page[-1]["first"] + page[-1]["packets"]
            page, _ = await asyncio.gather(self._page(day, shard, after), self._push(day, shard, page))

    async def _page(self, day: date, shard: int, first: int) -> list[dict[str, Any]]:
        return await self._store.all("manifest_page", day=day, shard=shard, first=first, limit=PAGE, chunk=CHUNK)

    async def _push(self, day: date, shard: int, chunks: list[dict[str, Any]]) -> None:
        """Publish a page. Raises :class:`BooksDiffer` where the shard does not take a chunk as the next."""
        for start in range(0, len(chunks), self._at_once):
            some = chunks[start : start + self._at_once]
            calls = (self._call(PUBLISH, day, shard, chunk["first"], chunk["fens"]) for chunk in some)
            for word in await asyncio.gather(*calls):
                if word not in ("published", "already_published"):
                    raise BooksDiffer(f"shard {shard} of {day} does not take packets: {word}")

    async def _open_claiming(self, round_: Recorded) -> str:
        sums = {row["shard"]: row for row in await self._store.all("manifest_sums", day=round_.day)}
        for how in ("check", "open"):  # nowhere, where one shard does not have its packets
            for shard in range(round_.rules.shards):
                manifest = sums.get(shard, {"packets": 0, "fen": 0})
                word = await self._call(SETTLE, round_.day, shard, how, manifest["packets"], manifest["fen"])
                if word not in ("matches", "settled", "already_settled"):
                    raise BooksDiffer(f"shard {shard} of {round_.day} does not open claiming: {word}")
        async with self._store.transaction() as connection:
            await rows(connection, "mark_settled", day=round_.day)
            await ledger.post(connection, "rounds", ledger.SETTLED_ROUND, round_.day)
        return "settled"

    # -- voiding and finishing

    async def _void(self, round_: Recorded) -> None:
        day = round_.day
        await self._close_shards(round_, "void")
        async with self._store.transaction() as connection:
            await rows(connection, "drop_manifest", day=day)
            await rows(connection, "give_carried_back", day=day)
            await rows(connection, "refund_members", day=day, reason="void", at_ms=self._time.now_ms())
            await _owe_refunds(connection, day)
            books = await one(connection, "count_books", day=day)
            figures = {name: books[name] for name in ("members", "winners", "late", "pool_fen")}
            await rows(connection, "mark_void", day=day, **figures)
        log.info("round_voided", day=str(day))

    async def _finish(self, round_: Recorded) -> bool:
        day, shards = round_.day, round_.rules.shards
        await self._drain(round_)
        if round_.state == "settled":
            await self._credit_unclaimed(round_)
            await self._standings.credit(day)
        left_fen = (await self._store.all("pool_balance", day=day))[0]["fen"]
        if left_fen:
            raise BooksDiffer(f"the pool of {day} still holds {left_fen} fen")
        for shard in range(shards):
            word = await self._call(FINISH, day, shard, keys.KEEP_MS)
            if word == "undrained":
                return False
            if word != "finished":
                raise BooksDiffer(f"shard {shard} of {day} does not finish: {word}")
        await self._store.all("mark_finished", day=day)
        log.info("round_finished", day=str(day))
        return True

    async def _credit_unclaimed(self, round_: Recorded) -> None:
        """Claim for every winner who has not, until the books have a claim of each."""
        day, shards, last = round_.day, round_.rules.shards, None
        while found := await self._store.all("unclaimed", day=day, limit=CREDIT_CHUNK * shards):
            if found == last:
                raise BooksDiffer(
                    f"the books of {day} miss claims of {len(found)} winners, {found[0]['uid']} among them"
                )
            await self._credit(day, shards, [row["uid"] for row in found])
            await self._drain(round_)
            last = found

    async def _credit(self, day: date, shards: int, uids: list[int]) -> None:
        by_shard: dict[int, list[int]] = {}
        for uid in uids:
            by_shard.setdefault(keys.shard_of(uid, shards), []).append(uid)
        for shard, own in by_shard.items():
            for start in range(0, len(own), CREDIT_CHUNK):
                waited_ms = 0
                users = [(uid, waited_ms) for uid in own[start : start + CREDIT_CHUNK]]
                await self._raw(CLAIM, day, shard, "system", *of_users(CLAIM, users))

    # -- parts of several

    async def _close_shards(self, round_: Recorded, why: str) -> None:
        """Fix every shard, wait until the books have it all, and compare."""
        day, shards = round_.day, round_.rules.shards
        for shard in range(shards):
            word = await self._call(CLOSE, day, shard, why, WAIT_CAP_MS)
            if word == "no_round":
                await self._opener.open_round(day)
                word = await self._call(CLOSE, day, shard, why, WAIT_CAP_MS)
            if word not in ("closed", "already_closed"):
                raise Unavailable(f"shard {shard} of {day} does not close: {word}")
        await self._drain(round_)
        said = await self._store.all("closed_shards", day=day)
        books = (await self._store.all("count_books", day=day))[0]
        for name in ("members", "winners", "late", "pool_fen"):
            total = sum(row[name] for row in said)
            if len(said) != shards or total != books[name]:
                raise BooksDiffer(f"{name} of {day}: Redis says {total}, the books say {books[name]}")

    async def _drain(self, round_: Recorded) -> None:
        """Until the round's outbox is empty, whoever drains it. Raises :class:`Unavailable` when it takes too long."""
        async with asyncio.timeout(DRAIN_SECONDS):
            for shard in range(round_.rules.shards):
                while True:
                    await outbox.drain(self._store, self._redis, round_.day, shard)
                    if not await self._redis.xlen(keys.name(round_.day, shard, "outbox")):
                        break
                    await asyncio.sleep(0.05)

    async def _step(self, round_: Recorded, before: str, after: str) -> None:
        if not await self._store.all("set_state", **{"day": round_.day, "from": before, "to": after}):
            raise Unavailable(f"round {round_.day} was taken on by another process")

    async def _call(self, script: Any, day: date, shard: int, *args: Value) -> str:
        return str((await self._raw(script, day, shard, *args))[1].decode())

    async def _raw(self, script: Any, day: date, shard: int, *args: Value) -> list[Any]:
        names = keys.names(day, shard, script.nouns)
        return await call(self._redis, script, names, [self._time.setting, *args])

    @asynccontextmanager
    async def _alone(self, day: date) -> AsyncIterator[Recorded | None]:
        """The round as recorded, while nobody else settles; trouble with a server becomes :class:`Unavailable`."""
        try:
            async with self._turn, self._store.transaction() as connection:
                await rows(connection, "lock_settlement", lock=SETTLEMENT_LOCK)
                found = await rows(connection, "get_round", day=day)
                yield _recorded(found[0]) if found else None
        except (Unavailable, RedisError, OSError, TimeoutError) as error:
            raise Unavailable(f"settlement of {day}: {error}") from error


def _recorded(row: dict[str, Any]) -> Recorded:
    rules = msgspec.convert(row["rules"], Rules)
    return Recorded(
        day=row["day"],
        rules=rules,
        at=windows(row["day"], rules),
        seed=row["seed"],
        state=row["state"],
        finished=row["finished_at"] is not None,
        swept=row["swept_at"] is not None,
    )


async def _owe_refunds(connection: Connection, day: date) -> None:
    """Post the round's refunds and put them on their way; each once, however often this runs."""
    source = sql.Identifier("refunds")
    await ledger.post(connection, "refunds", source, day)
    await outgoing.owe(connection, "refunds", source, day)


def _figures(rules: Rules, books: dict[str, Any], carried_in_fen: int) -> dict[str, Any]:
    """Where every stake of the round goes; sums in fen (RULES.md, *Settling*)."""
    members, winners, pool = books["members"], books["winners"], books["pool_fen"]
    refunded = members if winners == 0 and rules.nobody == "refund" else books["late_sleepers"]
    forfeited = (members - winners - refunded) * rules.stake_fen
    fee_fen = fee(forfeited, rules.fee_bps)
    assert forfeited >= 0 and pool == members * rules.stake_fen
    return {
        "members": members,
        "winners": winners,
        "late": books["late"],
        "pool_fen": pool,
        "refunded_fen": refunded * rules.stake_fen,
        "forfeited_fen": forfeited,
        "fee_fen": fee_fen,
        "carried_in_fen": carried_in_fen,
        "pot_fen": forfeited - fee_fen + carried_in_fen,
    }
