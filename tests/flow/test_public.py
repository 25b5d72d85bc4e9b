"""What anybody may read: talents, board, a round's figures and its packets."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from clock.books.store import queries
from clock.domain.split import Split, split
from clock.http.players import public
from tests.conftest import DAY, Api
from tests.flow.stage import IN_TIME, People, begin, play, work


@pytest.fixture
def people(api: Api) -> People:
    return People(api.service)


async def read(api: Api, path: str, status: int = 200) -> dict[str, Any]:
    """The data of a reply without a token."""
    got, reply = await api.send("GET", path)
    assert got == status, reply
    data: dict[str, Any] = reply["data"]
    return data


FIELDS = {
    *(
        "day",
        "state",
        "rules",
        "members",
        "winners",
        "late",
        "pool",
        "extensions",
        "archived",
        "refunded",
        "forfeited",
        "fee",
        "carried_in",
        "bonus",
        "pot",
    ),
    *("carried_out", "bonus_back", "packets", "smallest", "largest", "seed_hash", "seed", "drawn"),
}
NOT_FIXED = (
    "refunded",
    "forfeited",
    "fee",
    "carried_in",
    "bonus",
    "pot",
    "carried_out",
    "bonus_back",
    "packets",
    "smallest",
    "largest",
    "seed",
    "drawn",
)


# -- a round


async def test_a_round_shows_what_is_fixed_and_no_more(api: Api, people: People) -> None:
    await people.service.opener.open_round(DAY)
    shown = await read(api, f"/api/rounds/{DAY}")
    assert set(shown) == FIELDS
    assert (shown["day"], shown["state"], shown["members"], shown["pool"]) == (str(DAY), "joining", 0, 0)
    assert {shown[name] for name in NOT_FIXED} == {None}
    seed_hash = shown["seed_hash"]
    await people.join(4)
    await people.members(1, 2, 3)
    people.it_is("06:00", 1)
    await people.check_in(1, 2)
    await people.pay(4, paid_at=IN_TIME)
    people.service.asking.totals._known.clear()
    shown = await read(api, f"/api/rounds/{DAY}")
    assert (shown["state"], shown["members"], shown["winners"], shown["late"]) == ("checking_in", 4, 2, 1)
    assert {shown[name] for name in NOT_FIXED} == {None}
    assert (await api.send("GET", f"/api/rounds/{DAY}/packets"))[1]["code"] == "not_settled"
    await people.settle()
    await people.claim(1)
    shown = await read(api, f"/api/rounds/{DAY}")
    assert {name: shown[name] for name in FIELDS - {"rules", "seed", "drawn", "seed_hash", "smallest", "largest"}} == {
        "day": str(DAY),
        "state": "settled",
        "members": 4,
        "winners": 2,
        "late": 1,
        "pool": 400,
        "refunded": 100,
        "forfeited": 100,
        "fee": 0,
        "carried_in": 0,
        "bonus": 0,
        "pot": 100,
        "carried_out": 0,
        "bonus_back": 0,
        "packets": 2,
        "extensions": [],
        "archived": False,
    }
    assert shown["seed_hash"] == seed_hash == hashlib.sha256(bytes.fromhex(shown["seed"])).hexdigest()
    assert len(bytes.fromhex(shown["drawn"])) == 32 and shown["drawn"] != shown["seed"]
    assert shown["smallest"] + shown["largest"] == 100
    await people.drain()
    assert "claim" not in str({name: shown[name] for name in FIELDS - {"rules"}})


async def test_a_void_round_is_refunded_and_has_no_packets(api: Api, people: People) -> None:
    await people.members(1, 2)
    await people.service.voiding.void(DAY, "an outage")
    shown = await read(api, f"/api/rounds/{DAY}")
    assert (shown["state"], shown["refunded"], shown["pot"], shown["packets"]) == ("void", 200, 0, 0)
    assert (shown["smallest"], shown["largest"]) == (None, None)
    assert await read(api, f"/api/rounds/{DAY}/packets") == {"total": 0, "items": []}


@pytest.mark.parametrize("rest", ["", "/packets"])
async def test_a_day_without_a_round_and_what_is_no_day(api: Api, rest: str) -> None:
    status, reply = await api.send("GET", f"/api/rounds/2031-05-05{rest}")
    assert (status, reply["code"], reply["message"]) == (404, "not_found", "没有这一轮")
    for day in ("2031-5-5", "2031-02-30", "yesterday", "20310505"):
        status, reply = await api.send("GET", f"/api/rounds/{day}{rest}")
        assert (status, reply["code"]) == (400, "bad_request"), day


# -- packets


async def test_anyone_can_recompute_the_packets_of_a_round_of_many_shards(api: Api, people: People) -> None:
    service = people.service
    service.opener._environment = type(service.opener._environment)(
        **{name: getattr(service.opener._environment, name) for name in service.opener._environment.__struct_fields__}
        | {"shards": 5, "fee_bps": 1000, "lucky_count": 2, "lucky_bps": 2000}
    )
    await people.service.opener.open_round(DAY)
    await begin(people, list(range(1, 24)), list(range(30, 60)))
    await people.settle()
    shown = await read(api, f"/api/rounds/{DAY}")
    everything = await read(api, f"/api/rounds/{DAY}/packets")
    rules = shown["rules"]
    split_rules = Split(
        mode=rules["split"],
        lucky_count=rules["lucky_count"],
        lucky_bps=rules["lucky_bps"],
        packet_cap_fen=rules["packet_cap_fen"],
    )
    expected = split(bytes.fromhex(shown["drawn"]), shown["pot"], shown["winners"], split_rules)
    assert rules["shards"] == 5
    assert everything == {"total": 23, "items": list(expected.packets_fen)}
    assert (shown["smallest"], shown["largest"]) == (min(expected.packets_fen), max(expected.packets_fen))
    pages = [await read(api, f"/api/rounds/{DAY}/packets?limit=4&page={page}") for page in range(1, 8)]
    assert [packet for page in pages for packet in page["items"]] == everything["items"]
    assert [len(page["items"]) for page in pages] == [4, 4, 4, 4, 4, 3, 0]


# -- talents


async def test_without_a_settled_round_there_are_no_talents(api: Api) -> None:
    assert await read(api, "/api/talents") == {"round": None, "longest": None, "luckiest": None, "earliest": None}


async def test_talents_of_the_last_settled_round(api: Api, people: People) -> None:
    await play(people, [3, 1], [4])
    day = people.day
    await play(people, [2, 3, 1], [4])
    people.day = day
    luckiest = await people.rows(
        "SELECT l.uid, packet_fen FROM claims l JOIN check_ins c USING (day, uid) WHERE l.day = %s"
        " ORDER BY packet_fen DESC, c.at_ms LIMIT 1",
        day,
    )
    uid = luckiest[0]["uid"]
    shown = await read(api, "/api/talents")
    assert shown == {
        "round": str(day),
        "longest": {"nickname": "用户 3", "mobile": "138****0003", "days": 2},  # 1 has 2 as well, and came later
        "luckiest": {"nickname": f"用户 {uid}", "mobile": f"138****000{uid}", "money": luckiest[0]["packet_fen"]},
        "earliest": {
            "nickname": "用户 2",
            "mobile": "138****0002",
            "checked_in_at": shown["earliest"]["checked_in_at"],
        },
    }
    [row] = await people.rows("SELECT at_ms FROM check_ins WHERE day = %s AND uid = 2", day)
    assert shown["earliest"]["checked_in_at"] == row["at_ms"]


async def test_the_luckiest_is_known_when_all_packets_are_given_and_nobody_is_with_nothing(
    api: Api, people: People
) -> None:
    await play(people, [1, 2], [3], claims=False)
    people.day -= timedelta(days=1)
    await people.claim(1)
    await people.drain()
    await work(people)
    assert (await read(api, "/api/talents"))["luckiest"] is None
    await people.claim(2)
    await people.drain()
    await work(people)
    assert (await read(api, "/api/talents"))["luckiest"]["money"] >= 50
    people.day += timedelta(days=1)
    await play(people, [1, 2])
    shown = await read(api, "/api/talents")
    assert (shown["round"], shown["luckiest"]) == (str(people.day - timedelta(days=1)), None)
    assert shown["longest"]["days"] == 2


async def test_a_round_in_which_nobody_woke_has_no_talents(api: Api, people: People) -> None:
    await play(people, [], [1])
    assert await read(api, "/api/talents") == {"round": str(DAY), "longest": None, "luckiest": None, "earliest": None}


# -- board


async def test_the_board_has_users_by_income_and_everybody_once(api: Api, people: People) -> None:
    await play(people, list(range(1, 8)), list(range(10, 30)))
    await play(people, list(range(4, 10)), list(range(10, 30)))
    won = {
        row["uid"]: row["fen"]
        for row in await people.rows("SELECT uid, sum(packet_fen)::bigint AS fen FROM claims GROUP BY uid")
    }
    order = sorted(won, key=lambda uid: (-won[uid], uid))
    assert len(order) == 9
    everybody = await read(api, "/api/board?limit=200")
    assert everybody == {
        "total": 9,
        "items": [
            {"rank": rank, "nickname": f"用户 {uid}", "mobile": f"138****{uid:04}", "income_money": won[uid]}
            for rank, uid in enumerate(order, 1)
        ],
    }
    pages = [await read(api, f"/api/board?limit=4&page={page}") for page in range(1, 5)]
    assert [item for page in pages for item in page["items"]] == everybody["items"]
    assert {page["total"] for page in pages} == {9}
    [first] = (await read(api, "/api/board?limit=1"))["items"]
    status, mine = await api.send("GET", "/api/me", headers=api.token(order[0]))
    assert (status, mine["data"]["info"]["income_money"]) == (200, first["income_money"])


async def test_the_board_ends_at_its_depth(api: Api, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "DEPTH", 5)
    await people.rows("INSERT INTO incomes SELECT n, 1000 - n FROM generate_series(1, 9) AS n")
    assert await read(api, "/api/board?limit=3&page=2") == {
        "total": 5,
        "items": [{"rank": n, "nickname": "", "mobile": "", "income_money": 1000 - n} for n in (4, 5)],
    }
    assert await read(api, "/api/board?limit=200&page=10000") == {"total": 5, "items": []}


async def test_a_page_of_the_board_is_read_from_its_index(api: Api, people: People) -> None:
    await people.rows("INSERT INTO incomes SELECT n, n %% 977 + 1 FROM generate_series(1, 30000) AS n")
    await people.rows("ANALYZE incomes")
    async with people.service.store.transaction() as connection:
        cursor = await connection.execute("EXPLAIN " + queries()["board"], {"limit": 20, "offset": 9000})
        plan = "\n".join(row["QUERY PLAN"] for row in await cursor.fetchall())
    assert "incomes_board" in plan and "Seq Scan on incomes" not in plan, plan


@pytest.mark.parametrize("path", ["/api/board", f"/api/rounds/{DAY}/packets"])
async def test_a_bad_page_or_limit_is_refused(api: Api, path: str) -> None:
    for query in ("page=0", "limit=0", "page=-1", "limit=10001", "page=x", "limit=", "page=10001"):
        status, reply = await api.send("GET", f"{path}?{query}")
        assert (status, reply["code"]) == (400, "bad_request"), query


# -- others' numbers


@pytest.mark.parametrize(
    "nickname, mobile, shown",
    [
        ("晨", "13812345678", ("晨", "138****5678")),
        ("13812345678", "13812345678", ("138****5678", "138****5678")),
        ("call 13812345678!", "13812345678", ("call 138****5678!", "138****5678")),
        ("x", "1234567", ("x", "****")),
        ("x", "", ("x", "")),
        (None, None, ("", "")),
    ],
)
def test_a_number_is_masked_wherever_others_see_it(
    nickname: str | None, mobile: str | None, shown: tuple[str, str]
) -> None:
    assert public.person(nickname, mobile) == dict(zip(("nickname", "mobile"), shown, strict=True))


# -- what a user reads of yesterday


async def test_yesterday_says_what_became_of_the_user(api: Api, people: People) -> None:
    async def yesterday(uid: int) -> tuple[int, int]:
        _, reply = await api.send("GET", "/api/me/yesterday", headers=api.token(uid))
        assert set(reply["data"]) == {"yesterday"}
        found = reply["data"]["yesterday"]
        return found["clock_status"], found["red_status"]

    await people.join(4)
    await people.members(1, 2, 3)
    assert await yesterday(1) == (0, 0)
    people.it_is("06:00", 1)
    await people.check_in(1, 2)
    assert [await yesterday(uid) for uid in (1, 3, 4, 5)] == [(2, 1), (1, 0), (0, 0), (0, 0)]
    await people.settle()
    await people.claim(1)
    assert [await yesterday(uid) for uid in (1, 2, 3)] == [(2, 2), (2, 1), (1, 0)]
    people.it_is("00:00", 2)
    assert await yesterday(1) == (0, 0)
