"""What can be seen of the real clock, against the model: totals, figures, packets, every table, all money."""

import asyncio
from datetime import date
from typing import Any

from clock.domain.split import Split, split
from clock.game import totals
from clock.service import Service
from tests.model import model as m


class Compared:
    """Both sides of a game."""

    def __init__(self, service: Service, model: m.Model, law: m.Law) -> None:
        self.service = service
        self.model = model
        self.law = law

    def used(self) -> list[date]:
        """From the first round in which something happened to the one after the last: that takes what is carried."""
        days = list(self.model.rounds)
        used = [n for n, round_ in enumerate(self.model.rounds.values()) if round_.orders or round_.state == "void"]
        return days[used[0] : used[-1] + 2] if used else []

    # -- what can be seen

    async def select(self, table: str, day: date) -> list[dict[str, Any]]:
        async with self.service.store.transaction() as connection:
            cursor = await connection.execute(f"SELECT * FROM {table} WHERE day = %s".encode(), [day])
            return await cursor.fetchall()

    async def compare_totals(self) -> None:
        async def one(day: date) -> None:
            real = await totals.read(self.service.redis, day, self.law.shards)
            expected = self.model.totals(day)
            assert {name: getattr(real, name) for name in expected} == expected, day

        await asyncio.gather(*(one(day) for day in self.used()))

    async def compare_split(self, day: date) -> None:
        """The figures are the model's; the packets are what anyone can recompute from the draw."""
        round_, law = self.model.rounds[day], self.law
        if round_.state != "settled":
            return
        await self.compare_figures(day)
        if round_.packets or round_.claims:
            return
        drawn = (await self.select("rounds", day))[0]["drawn"]
        rules = Split(
            mode=law.split,
            lucky_count=law.lucky_count,
            lucky_bps=law.lucky_bps,
            packet_cap_fen=law.packet_cap_fen,
        )
        rows = sorted(await self.select("packets", day), key=lambda row: (row["shard"], row["index"]))
        packets = [row["fen"] for row in rows]
        result = split(drawn, round_.pot_fen, len(round_.winners), rules)
        assert packets == list(result.packets_fen)
        assert result.carried_fen == round_.carried_out_fen + round_.bonus_back_fen
        round_.publish(packets)

    async def compare_figures(self, day: date) -> None:
        row = (await self.select("rounds", day))[0]
        expected = self.model.figures(day)
        assert {name: row[name] for name in expected} == expected, day

    # -- the end

    async def compare_books(self) -> None:
        """Every table is the model's, row by row."""
        for day in self.used():
            round_ = self.model.rounds[day]
            await self.compare_figures(day)
            await self._compare_orders(round_)
            await self._compare_people(round_)
            await self._compare_refunds(round_)
        async with self.service.store.transaction() as connection:
            cursor = await connection.execute("SELECT reason, order_no, raw FROM quarantine")
            kept = [(row["reason"], row["order_no"], row["raw"]) for row in await cursor.fetchall()]
        assert len(kept) == len(self.model.quarantine)
        assert set(kept) == self.model.quarantine

    async def _compare_orders(self, round_: m.Round) -> None:
        real = {
            (row["uid"], row["order_no"], row["order_id"], row["amount_fen"], row["open_id"])
            for row in await self.select("orders", round_.day)
        }
        stake = self.law.stake_fen
        assert real == {(o.uid, o.number, o.order_id, stake, o.open_id) for o in round_.orders.values()}
        payments = [
            (row["order_no"], row["transaction_id"], row["uid"], row["amount_fen"], _becomes(row["outcome"]))
            for row in await self.select("payments", round_.day)
        ]
        expected = [
            (o.number, transaction, o.uid, stake, becomes)
            for o in round_.orders.values()
            for transaction, becomes in o.accepted.items()
        ]
        assert sorted(payments) == sorted(expected)

    async def _compare_people(self, round_: m.Round) -> None:
        day, stake = round_.day, self.law.stake_fen
        members = [(row["uid"], row["stake_fen"], row["late"]) for row in await self.select("members", day)]
        assert sorted(members) == sorted((uid, stake, uid in round_.late) for uid in round_.members)
        check_ins = [row["uid"] for row in await self.select("check_ins", day)]
        assert sorted(check_ins) == sorted(round_.winners)
        ranks = {row["uid"]: row["rank"] for row in await self.select("check_ins", day)}
        assert all(row["index"] == ranks[row["uid"]] - 1 for row in await self.select("claims", day))
        claims = [(r["uid"], r["packet_fen"], r["stake_fen"], r["by"]) for r in await self.select("claims", day)]
        assert sorted(claims) == sorted((uid, packet, stake, by) for uid, (packet, by) in round_.claims.items())

    async def _compare_refunds(self, round_: m.Round) -> None:
        rows = await self.select("refunds", round_.day)
        real = [(row["order_no"], row["transaction_id"], row["uid"], row["amount_fen"]) for row in rows]
        stake = self.law.stake_fen
        assert sorted(real) == sorted((*key, uid, stake) for key, uid in round_.refunds.items())
        assert len({row["refund_no"] for row in rows}) == len(rows)

    async def compare_money(self) -> None:
        """Every stake accepted, and every bonus, ended in exactly one place; nothing came from nowhere."""
        waiting = 0
        for day in self.used():
            round_ = self.model.rounds[day]
            row = (await self.select("rounds", day))[0]
            payments, claims = await self.select("payments", day), await self.select("claims", day)
            refunds = sum(refund["amount_fen"] for refund in await self.select("refunds", day))
            came = sum(payment["amount_fen"] for payment in payments) + row["carried_in_fen"] + row["bonus_fen"]
            credited = sum(claim["packet_fen"] + claim["stake_fen"] for claim in claims)
            left = row["fee_fen"] + row["carried_out_fen"] + row["bonus_back_fen"]
            assert came == credited + refunds + left, day
            waiting += row["carried_out_fen"] - row["carried_in_fen"]
            assert waiting >= 0 and row["state"] == ("void" if round_.state == "void" else "finished")


def _becomes(outcome: str) -> str:
    return {"paid": "member", "paid_late": "late"}.get(outcome, "refund")
