"""Settling a round: a state machine kept in Postgres, every step repeatable.

    open ──▶ closed ──▶ sealed ──▶ split ──▶ published ──▶ settled

*closed*: every shard's members and winners are final and in the books, and the books agree with the shards' totals.
*sealed*: the figures down to the pot are written, and stated as C.
*split*: the channel was queried about unpaid orders; the draw is made, which needs C; the manifest is written, and
stated as P.
*published*: what the split gives back is refunded, and every packet is in Redis. *settled*: claiming is open.

A round with a beacon is closed and sealed before its draw is out, then waits for the draw, and for the instant at which
settlement is due (:mod:`clock.rounds.drawing`). Until its draw is known a round can be voided instead
(:mod:`clock.rounds.voiding`); a settled one is finished when claiming has closed (:mod:`clock.rounds.finishing`).
"""

import asyncio
from collections.abc import Iterator
from datetime import date
from itertools import islice
from typing import Any

import structlog

from clock.books import ledger, outbox, telling
from clock.books.leases import held
from clock.books.store import OUTBOX_LOCK, Connection, one, rows
from clock.domain import progress
from clock.domain.outcomes import Unavailable
from clock.domain.rounds import VOID_STATES, Rules
from clock.domain.split import fee, split
from clock.domain.webhooks import RoundClosed, Told
from clock.fair.leaves import Kind
from clock.fair.statements import NONE, drawn_from, signature_in
from clock.game import keys
from clock.game.scripts import load
from clock.payments.questions import Questions
from clock.proofs import growing, statements
from clock.proofs.growing import Grown
from clock.proofs.statements import Signing
from clock.rounds import stated
from clock.rounds.drawing import Drawing
from clock.rounds.ending import BooksDiffer, Ending, NotDue
from clock.rounds.recorded import Recorded, recorded
from clock.rounds.refunding import Reason, refund
from clock.rounds.standings import Standings
from clock.rounds.stated import Stated

log = structlog.get_logger()

PUBLISH, SETTLE = load("publish"), load("settle")

CHUNK = 500
PAGE = 20_000
PACKETS_AT_ONCE = 10_000
AT_ONCE = 16
"""Chunks in flight; one connection keeps them in order. With ``CLOCK_DURABILITY=replica`` one at a time."""


class Undrawn(NotDue):
    """What the beacon's draw is has not been decided."""


class Settling:
    """Every step is idempotent and may run in several processes."""

    def __init__(
        self, ending: Ending, questions: Questions, standings: Standings, signing: Signing, drawing: Drawing
    ) -> None:
        self._ending = ending
        self._store = ending.store
        self._redis = ending.redis
        self._time = ending.time
        self._questions = questions
        self._standings = standings
        self._signing = signing
        self._drawing = drawing
        self._at_once = 1 if getattr(ending.redis, "replicated", False) else AT_ONCE

    async def settle(self, day: date) -> str:
        """Take the round as far as ``settled``. Answers ``settled``, ``not_due``, ``round_void`` or
        ``round_not_found``. Raises :class:`BooksDiffer` and :class:`Unavailable`."""
        try:
            return await self._take_on(day)
        except Undrawn:  # the round's lock is free: relays may be silent
            try:
                return await self._take_on(day) if await self._drawing.decide(day) else "not_due"
            except Undrawn:
                return "not_due"

    async def _take_on(self, day: date) -> str:
        """Raises :class:`Undrawn`."""
        async with self._ending.alone(day) as round_:
            if round_ is None:
                return "round_not_found"
            if round_.state in VOID_STATES:
                return "round_void"
            if not await self.is_due(round_):
                return "not_due"
            steps = {
                "open": self._close,
                "closed": self._seal,
                "sealed": self._split,
                "split": self._publish,
                "published": self._open_claiming,
            }
            state: str = round_.state
            try:
                while step := steps.get(state):
                    state = await step(round_)
                    log.info("settlement_step", day=str(day), state=state)
            except Undrawn:
                raise
            except NotDue:
                return "not_due"
            await self._standings.tally(day)
            return "settled"

    async def is_due(self, round_: Recorded) -> bool:
        """Whether it may be closed, or has been sealed already. Raises :class:`Unavailable`."""
        now_ms = await self._ending.clocks.agreed_now_ms()
        return round_.state not in ("open", "closed") or now_ms >= await self._ending.ends_ms(round_)

    async def _close(self, round_: Recorded) -> str:
        for asked in await self._store.all("asked_extensions", day=round_.day):
            await self._ending.extend(round_, asked)  # as far as the process that was asked did not come
        figures = await self._ending.close_shards(round_, "settle")
        await self._step(round_, "open", "closed", RoundClosed(round=round_.day.isoformat(), **figures))
        return "closed"

    async def _seal(self, round_: Recorded) -> str:
        """Who has won what is in the pot: one transaction takes the sum carried in, and writes the figures and C, by
        whose hash the draw cannot be known before. Nobody outside is waited for: C may not be late."""
        day = round_.day
        trees = await self._trees(round_)
        before, is_out = await stated.kept(self._redis, round_), await self._is_out(round_)
        closed_ms = await self._ending.clocks.agreed_now_ms()  # not in the transaction: it needs a connection, too
        async with self._store.transaction() as connection:
            for shard in round_.shards:  # whoever drains one has seen a round that is not sealed, and may still write
                await rows(connection, "wait_lease", lock=OUTBOX_LOCK, shard=outbox.lease_of(day, shard))
            books = await one(connection, "count_books", day=day)
            carried_in = int((await one(connection, "take_carried", day=day))["fen"])
            figures = _figures(round_.rules, books, carried_in)
            if not await rows(connection, "save_figures", day=day, **figures):
                raise Unavailable(f"round {day} was sealed by another process")
            closed = None
            if trees:
                closed = await self._write_closed(connection, round_, closed_ms, figures, trees, before)
            await self._require_closed_with(connection, day, figures)
            if closed and before and closed == before.closed:
                log.warning("closed_found_again", day=str(day))
            elif closed and is_out:
                raise BooksDiffer(f"packets of {day} are out, and follow from another C than the books say now")
            else:
                self._ending.require_before_draw(round_, closed_ms)
        return "sealed"

    async def _is_out(self, round_: Recorded) -> bool:
        """Whether a shard has packets."""
        return any([await self._published(round_.day, shard) for shard in round_.shards])

    async def _require_closed_with(self, connection: Connection, day: date, figures: dict[str, Any]) -> None:
        """The shards deal packets to as many winners as they said when they closed. Raises :class:`BooksDiffer` where
        the books have grown since, as from a replica that was promoted and had forgotten that it was closed."""
        closed = await rows(connection, "closed_shards", day=day)
        for name in ("members", "winners", "late", "pool_fen"):
            if (total := sum(row[name] for row in closed)) != figures[name]:
                raise BooksDiffer(f"{name} of {day}: its shards closed with {total}, the books say {figures[name]}")

    async def _trees(self, round_: Recorded) -> dict[Kind, Grown]:
        """None for a round that was opened before there were statements."""
        if round_.salt_key is None:
            return {}
        stakes, checked_in = await asyncio.gather(  # one is read and sorted while the other is hashed
            growing.stakes(self._store, round_), growing.checked_in(self._store, round_)
        )
        return {"stake": stakes, "checked_in": checked_in}

    async def _write_closed(
        self,
        connection: Connection,
        round_: Recorded,
        now_ms: int,
        figures: dict[str, Any],
        trees: dict[Kind, Grown],
        before: Stated | None,
    ) -> str:
        """C and its trees; the text of C, which is that of ``before`` where that says the same of the round. Raises
        :class:`BooksDiffer` where the books have grown since they were read."""
        day, stakes, checked_in = round_.day, trees["stake"], trees["checked_in"]
        if (stakes.tree.size, checked_in.tree.size) != (figures["members"], figures["winners"]):
            raise BooksDiffer(f"{day}: {stakes.tree.size} stakes of {figures['members']} members have an order")
        both, known = (stakes.tree, checked_in.tree), before.closed if before else None
        text = await statements.write_closed(self._signing, connection, round_, now_ms, figures, both, known)
        for kind, grown in trees.items():
            await grown.keep(connection, day, kind)
        return text

    async def _split(self, round_: Recorded) -> str:
        """What is left to be asked is asked, and what is waited for has come. Raises :class:`NotDue`."""
        if round_.salt_key:
            said = await statements.find(self._store, round_.day)
            await stated.keep(self._redis, round_, said.texts["closed"])
        if round_.swept_at is None:  # a payment that is found makes no member any more, but is owed back
            await self._questions.ask_all(round_.day, self._time.now_ms())
        if round_.draw_ms is not None:
            if round_.draw is None:
                raise Undrawn
            if await self._ending.clocks.agreed_now_ms() < round_.at.settle_ms:
                raise NotDue
        await self._write_split(round_)
        return "split"

    async def _write_split(self, round_: Recorded) -> None:
        """One transaction: the draw, the manifest, the bonus, and P. Where nobody wins, the bonus goes back: only
        players' money is carried."""
        day, rules = round_.day, round_.rules
        async with self._store.transaction() as connection:
            round_ = recorded(await one(connection, "get_round", day=day))
            said = await statements.written(connection, day)
            signature = signature_in(round_.draw or NONE)
            drawn = drawn_from(round_.seed, signature, said.texts["closed"]) if round_.salt_key else round_.seed
            async with held(connection):
                pot_fen, winners = round_.pot_fen, round_.winners
                result = await asyncio.to_thread(split, drawn, pot_fen, winners, round_.packet_rules)
            bonus_back = 0 if winners else rules.bonus_fen
            left = {"carried_out_fen": result.carried_fen - bonus_back, "bonus_back_fen": bonus_back}
            extremes = {"smallest_fen": min(result.packets_fen, default=None)}
            extremes["largest_fen"] = max(result.packets_fen, default=None)
            closed = await rows(connection, "closed_shards", day=day)
            await self._write_manifest(connection, day, closed, iter(result.packets_fen))
            if not await rows(connection, "save_split", day=day, drawn=drawn, **left, **extremes):
                raise Unavailable(f"round {day} was split by another process")
            if round_.salt_key:
                async with held(connection):
                    by_shard = [row["winners"] for row in closed]
                    grown = await asyncio.to_thread(growing.packets, day, by_shard, result.packets_fen)
                await statements.write_published(self._signing, connection, round_, drawn, grown.tree, left)
                await grown.keep(connection, day, "packet")
            await ledger.post_settlement(connection, day)

    async def _write_manifest(
        self, connection: Connection, day: date, closed: list[dict[str, Any]], packets: Iterator[int]
    ) -> None:
        """No COPY: Postgres would wait without end, with our locks, for the rest of one whose process stands still."""
        for one_shard in closed:
            shard = {"day": day, "shard": one_shard["shard"]}
            own = islice(packets, one_shard["winners"])
            first = 0
            while some := list(islice(own, PACKETS_AT_ONCE)):
                fens = "{" + ",".join(map(str, some)) + "}"  # psycopg takes twice as long for a list
                await rows(connection, "write_packets", **shard, first=first, fens=fens)
                first += len(some)

    async def _publish(self, round_: Recorded) -> str:
        await self._refund(round_.day)
        for shard in round_.shards:
            await self._publish_shard(round_.day, shard)
        await self._step(round_, "split", "published")
        return "published"

    async def _refund(self, day: date) -> None:
        """What the split says is given back, as many transactions as it takes: whoever voids the round in between gives
        everything back, these stakes once. Raises :class:`BooksDiffer`, before a packet is out, where the books do not
        say any more what they said when they were split: who is refunded cannot win as well."""
        async with self._store.transaction() as connection:
            row = await one(connection, "get_round", day=day)
        round_ = recorded(row)
        if not row["refunded_fen"]:
            return
        everybody = round_.winners == 0 and round_.rules.nobody == "refund"
        reason: Reason = "late_member" if round_.winners else "nobody"
        await refund(self._store, day, "split", reason, self._time.now_ms(), everybody=everybody)
        refunded = (await self._store.all("refunds_of_settlement", day=day))[0]
        if refunded != {"fen": row["refunded_fen"], "winners": 0}:
            raise BooksDiffer(
                f"{refunded['fen']} fen of {day} are refunded, {refunded['winners']} winners' among them;"
                f" the split says {row['refunded_fen']}"
            )

    async def _publish_shard(self, day: date, shard: int) -> None:
        """Resume where an earlier attempt ended, a page of the manifest at a time; the next is read meanwhile."""
        page = await self._page(day, shard, await self._published(day, shard))
        while page:
            after = page[-1]["first"] + page[-1]["packets"]
            progress.at("publishing", after)
            page, _ = await asyncio.gather(self._page(day, shard, after), self._push(day, shard, page))

    async def _published(self, day: date, shard: int) -> int:
        return int(await self._redis.hget(keys.name(day, shard, "totals"), "published") or 0)

    async def _page(self, day: date, shard: int, first: int) -> list[dict[str, Any]]:
        return await self._store.page("manifest_page", day=day, shard=shard, first=first, limit=PAGE, chunk=CHUNK)

    async def _push(self, day: date, shard: int, chunks: list[dict[str, Any]]) -> None:
        """Publish a page. Raises :class:`BooksDiffer` if the shard does not accept a chunk as the next one."""
        for start in range(0, len(chunks), self._at_once):
            some = chunks[start : start + self._at_once]
            calls = (self._ending.word(PUBLISH, day, shard, chunk["first"], chunk["fens"]) for chunk in some)
            for word in await asyncio.gather(*calls):
                if word not in ("published", "already_published"):
                    raise BooksDiffer(f"shard {shard} of {day} does not take packets: {word}")

    async def _open_claiming(self, round_: Recorded) -> str:
        sums = {row["shard"]: row for row in await self._store.all("manifest_sums", day=round_.day)}
        for how in ("check", "open"):  # all shards must have their packets before claiming opens in any
            for shard in round_.shards:
                manifest = sums.get(shard, {"packets": 0, "fen": 0})
                word = await self._ending.word(SETTLE, round_.day, shard, how, manifest["packets"], manifest["fen"])
                if word not in ("matches", "settled", "already_settled"):
                    raise BooksDiffer(f"shard {shard} of {round_.day} does not open claiming: {word}")
        async with self._store.transaction() as connection:
            for row in await rows(connection, "mark_settled", day=round_.day):
                if self._store.tells:
                    await telling.tell_settled(connection, row, self._time.now_ms())
            await ledger.post_settlement(connection, round_.day)
        return "settled"

    async def _step(self, round_: Recorded, before: str, after: str, fact: Told | None = None) -> None:
        async with self._store.transaction() as connection:
            if not await rows(connection, "set_state", **{"day": round_.day, "from": before, "to": after}):
                raise Unavailable(f"round {round_.day} was taken on by another process")
            if fact:
                await telling.tell(self._store, connection, round_.day, fact, self._time.now_ms())


def _figures(rules: Rules, books: dict[str, Any], carried_in_fen: int) -> dict[str, Any]:
    """The figures down to the pot, in fen: what is refunded, forfeited, taken as a fee, and the pot."""
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
        "bonus_fen": rules.bonus_fen,
        "pot_fen": forfeited - fee_fen + carried_in_fen + rules.bonus_fen,
    }
