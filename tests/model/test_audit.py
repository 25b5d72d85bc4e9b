"""Random rounds, and a bookkeeper who knows the rules and not the ledger: every account must be what both say."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clock.channels import Result
from clock.config import Settings
from clock.domain.order_no import parse
from clock.game import events, keys
from clock.payments import outgoing
from clock.rounds.ending import Ending
from clock.rounds.recorded import Recorded
from tests.conftest import DAY, Servers
from tests.flow.stage import STAKE, People, Scripted, one_database
from tests.model.audit import Audit, AuditedRound
from tests.model.world import new_world, plan_bonus

EXAMPLES = 14


@dataclass(frozen=True)
class Person:
    pays: str
    """``once``; ``twice``: with two transactions; ``never``; ``morning``: in time, and heard of in the morning;
    ``night``: after joining has closed; ``after``: when all is over."""
    wakes: bool
    claims: bool
    lapses: bool
    """The provider cannot give this user anything."""


@dataclass(frozen=True)
class Day:
    people: tuple[Person, ...]
    ends: str
    """``finished``, ``settled`` (winners are not credited yet), ``void``, or ``open``."""
    sends: bool
    channel: str
    withdraws: bool
    """Everybody takes what is in the balance."""


@dataclass(frozen=True)
class Game:
    days: tuple[Day, ...]
    rules: dict[str, Any]


PEOPLE = st.builds(
    Person,
    pays=st.sampled_from(["once", "once", "once", "twice", "never", "morning", "night", "after"]),
    wakes=st.booleans(),
    claims=st.booleans(),
    lapses=st.sampled_from([False, False, False, True]),
)
DAYS = st.builds(
    Day,
    people=st.lists(PEOPLE, max_size=6).map(tuple),
    ends=st.sampled_from(["finished", "finished", "finished", "settled", "void", "open"]),
    sends=st.booleans(),
    channel=st.sampled_from(["platform", "wechat"]),
    withdraws=st.booleans(),
)
GAMES = st.builds(
    Game,
    days=st.lists(DAYS, min_size=1, max_size=3).map(tuple),
    rules=st.fixed_dictionaries(
        {
            "fee_bps": st.sampled_from([0, 33, 1_000, 10_000]),
            "nobody": st.sampled_from(["refund", "carry"]),
            "packet_cap_fen": st.sampled_from([0, 0, 7, 60]),
            "split": st.sampled_from(["random", "equal"]),
            "lucky_count": st.sampled_from([0, 2]),
            "lucky_bps": st.just(5_000),
            "shards": st.sampled_from([1, 3]),
            "bonus_fen": st.sampled_from([0, 1, 5_003]),
        }
    ).map(lambda rules: rules if rules["lucky_count"] else {**rules, "lucky_bps": 0}),
)


class Provider(Scripted):
    """Gives to everybody but those to whom it cannot, and keeps books of its own."""

    def __init__(self, name: str, books: dict[str, tuple[str, str, int, int, bool]], cannot: set[int]) -> None:
        """``books``: number to channel, kind, user, fen, and whether it was given."""
        super().__init__()
        self.name = name
        self.pulls = name == "wechat"
        self.books = books
        self.cannot = cannot

    async def refund(
        self, refund_no: str, order_no: str, transaction_id: str, amount_fen: int, total_fen: int
    ) -> Result:
        place = parse("TTC", order_no)
        assert place is not None
        return self._give(refund_no, "refund", place.uid, amount_fen)

    async def transfer(self, transfer_no: str, open_id: str, amount_fen: int) -> Result:
        kind = "withdrawal" if transfer_no.startswith("W") else "payout"
        return self._give(transfer_no, kind, int(open_id.removeprefix("open-")), amount_fen)

    def _give(self, no: str, kind: str, uid: int, fen: int) -> Result:
        assert no not in self.books, f"{no} was sent twice"
        self.books[no] = (self.name, kind, uid, fen, uid not in self.cannot)
        return Result("done") if uid not in self.cannot else Result("failed", "lapsed")


@pytest.fixture(scope="module")
async def shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Settings]:
    async with one_database(servers, tmp_path_factory.mktemp("audit")) as settings_:
        yield settings_


async def listen(people: People, audit: Audit, day: date) -> None:
    """What is in the streams, before it goes into Postgres."""
    redis: Any = people.service.redis
    for shard in range(people.service.settings.shards):
        entries = await redis.xrange(keys.name(day, shard, "outbox"))
        audit.read(day.isoformat(), [events.decode(fields[b"e"]) for _, fields in entries])


async def play(people: People, audit: Audit, provider: Provider, day: Day) -> None:
    """One round. Its users are 1, 2, 3, …"""
    on = people.day
    paid_at = f"{on} 20:00:00"
    who = dict(enumerate(day.people, 1))
    provider.cannot |= {uid for uid, person in who.items() if person.lapses}
    people.orders = {}
    people.it_is("20:00")
    await people.service.opener.open_round(on)
    channel = day.channel
    await people.join(*who, channel=channel)
    for uid, person in who.items():
        if person.pays in ("once", "twice"):
            await people.pay(uid, paid_at=paid_at, channel=channel)
            await people.pay(uid, paid_at=paid_at, channel=channel)  # the same callback again
        if person.pays == "twice":
            await people.pay(uid, "second", paid_at, channel=channel)
    people.it_is("06:00", 1)
    for uid, person in who.items():
        if person.pays == "morning":
            await people.pay(uid, paid_at=paid_at, channel=channel)
        if person.pays == "night":
            await people.pay(uid, paid_at=f"{on + timedelta(days=1)} 00:00:01", channel=channel)
    awake = [uid for uid, person in who.items() if person.wakes and person.pays in ("once", "twice", "morning")]
    await people.check_in(*awake)
    await listen(people, audit, on)
    if day.ends == "void":
        assert await people.service.voiding.void(on, "an outage") == "ok"
        audit.voided(on.isoformat())
    elif day.ends != "open":
        await people.settle()
        audit.settled(on.isoformat())
        people.it_is("09:00", 1)
        await people.claim(*(uid for uid in awake if who[uid].claims))
    for uid, person in who.items():
        if person.pays == "after" and day.ends != "open":
            await people.pay(uid, paid_at=paid_at, channel=channel)
    await listen(people, audit, on)
    if day.ends == "finished":
        await people.drain()
        await finish(people, audit, on)


async def finish(people: People, audit: Audit, on: date) -> None:
    """The system's claims are heard between the script and Postgres."""
    drain = Ending.drain

    async def listened(ending: Ending, round_: Recorded) -> None:
        await listen(people, audit, on)
        await drain(ending, round_)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ending, "drain", listened)
        await people.finish()


async def compare(people: People, audit: Audit, provider: Provider) -> None:
    await people.drain()
    audit.sent.clear()
    audit.came_back.clear()
    audit.withdrawn.clear()
    for channel, kind, uid, fen, given_ in provider.books.values():
        if given_:
            audit.left(channel, kind, uid, fen)
        else:
            audit.failed(kind, uid, fen)
    assert await people.balances() == audit.balances()


async def examine(shared: Settings, game: Game) -> None:
    rules = dict(game.rules)
    bonus_fen = rules.pop("bonus_fen")
    async with new_world(shared, **rules) as service:
        await plan_bonus(service, DAY, bonus_fen)
        people, audit, provider = People(service), Audit(), Provider("platform", {}, set())
        people.use(provider)
        people.use(Provider("wechat", provider.books, provider.cannot))
        for number, day in enumerate(game.days):
            people.day = DAY + timedelta(days=number)
            audit.rounds[people.day.isoformat()] = AuditedRound(
                fee_bps=game.rules["fee_bps"],
                carries=game.rules["nobody"] == "carry",
                cap_fen=game.rules["packet_cap_fen"],
                bonus_fen=bonus_fen,
                channel=day.channel,
            )
            await play(people, audit, provider, day)
            await compare(people, audit, provider)
            if day.sends:
                await outgoing.send_some(service.store, service.channels)
                await compare(people, audit, provider)
            if day.withdraws:
                for uid in range(1, len(day.people) + 1):
                    await service.withdrawals.withdraw(uid, people.day)
                await compare(people, audit, provider)
        balances = await people.balances()
        for number, day in enumerate(game.days):
            if day.ends in ("finished", "void"):
                assert f"pool:{DAY + timedelta(days=number)}" not in balances


@pytest.mark.long
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to make a failing game smaller takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(game=GAMES)
async def test_every_account_is_what_a_bookkeeper_says_who_knows_only_the_events(shared: Settings, game: Game) -> None:
    async with asyncio.timeout(60):
        await examine(shared, game)


def test_the_bookkeeper_knows_the_rules() -> None:
    """One round by hand: 100 fen each; 1 and 2 wake, 3 sleeps, 4 is late and sleeps, 5 paid twice and sleeps."""
    audit = Audit()
    audit.rounds["2026-11-22"] = AuditedRound(fee_bps=1_000, carries=False, cap_fen=50, bonus_fen=30)
    accepted = [(uid, f"N{uid}", "T", STAKE, 0, "paid", "platform", "") for uid in (1, 2, 3, 5)]
    other = [
        (4, "N4", "T", STAKE, 0, "paid_late", "platform", ""),
        (5, "N5", "T2", STAKE, 0, "refund_second", "platform", ""),
    ]
    entries: list[events.Event] = [
        msgspec.convert(["payment", 0, accepted + other], events.Payment),
        events.CheckedIn(0, 1, [1, 2]),
    ]
    audit.read("2026-11-22", entries * 2)
    assert audit.balances() == {"channel:platform": -600, "pool:2026-11-22": 500, "owed:refund": 100}
    audit.settled("2026-11-22")
    # 3 and 5 forfeit 200, of which 20 are the fee; 180 and the bonus of 30 for two packets of at most 50 leave 110;
    # 4 is refunded
    assert audit.balances() == {
        "channel:platform": -600,
        "pool:2026-11-22": 300,
        "owed:refund": 200,
        "fee": 20,
        "carry": 110,
        "subsidy": -30,
    }
    audit.read("2026-11-22", [events.Claimed(0, "user", STAKE, 0, [1, 2], [50, 50])])
    assert audit.balances() == {
        "channel:platform": -600,
        "owed:refund": 200,
        "fee": 20,
        "carry": 110,
        "subsidy": -30,
        "owed:payout": 300,
    }
