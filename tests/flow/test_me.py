"""What users read of their own money and mornings, over HTTP."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from clock.channels import Result
from clock.config import Settings
from clock.http.players import me, public
from clock.payments import outgoing
from tests.conftest import DAY, Api, Servers
from tests.flow.stage import IN_TIME, People, Scripted
from tests.model.world import new_world

INFO = {
    "spend_money",
    "income_money",
    "max_money",
    "join_num",
    "clock_day_num",
    "long_day_num",
    "streak_day_num",
    "balance",
}
ITEM = {"title", "money", "round", "created_at", "kind", "state", "no"}


@pytest.fixture
def people(api: Api) -> People:
    return People(api.service)


async def info(api: Api, uid: int) -> dict[str, Any]:
    status, reply = await api.send("GET", "/api/me", headers=api.token(uid))
    assert (status, reply["code"], set(reply["data"])) == (200, "ok", {"info", "withdraw"}), reply
    assert set(reply["data"]["info"]) == INFO
    assert all(type(value) is int for value in reply["data"]["info"].values())
    found: dict[str, Any] = reply["data"]["info"]
    return found


async def history(api: Api, uid: int, query: str = "", **headers: str) -> tuple[int, list[dict[str, Any]]]:
    status, reply = await api.send("GET", f"/api/me/history{query}", headers=api.token(uid) | headers)
    assert (status, set(reply["data"])) == (200, {"total", "items", "archived"}), reply
    assert all(set(item) == ITEM for item in reply["data"]["items"])
    return reply["data"]["total"], reply["data"]["items"]


async def play(people: People, winners: list[int], sleepers: list[int]) -> None:
    """A whole round on ``people.day``, up to the last claim."""
    people.it_is("20:00")
    await people.members(*winners, *sleepers)
    people.it_is("06:00", 1)
    await people.check_in(*winners)
    await people.settle()
    await people.claim(*winners)
    await people.drain()
    people.day += timedelta(days=1)
    people.orders = {}


# -- the sums


async def test_a_user_who_never_played_has_zeros(api: Api) -> None:
    assert await info(api, 7) == dict.fromkeys(INFO, 0)
    assert await history(api, 7) == (0, [])


async def test_the_sums_are_those_of_the_ledger(api: Api, people: People) -> None:
    await play(people, [1], [2, 3])  # 1 gets a packet of 200
    await play(people, [1], [2])  # and one of 100
    await play(people, [2], [1])
    assert await info(api, 1) == {
        "spend_money": 300,
        "income_money": 300,
        "max_money": 200,
        "join_num": 3,
        "clock_day_num": 2,
        "long_day_num": 2,
        "streak_day_num": 0,
        "balance": 0,
    }
    assert (await info(api, 3))["join_num"] == 1


async def test_the_longest_run_of_mornings_is_the_longest_one_ever(api: Api, people: People) -> None:
    await play(people, [1], [2])
    await play(people, [1], [2])
    await play(people, [2], [1])
    await play(people, [1], [2])
    found = await info(api, 1)
    assert (found["clock_day_num"], found["long_day_num"]) == (3, 2)


async def test_a_stake_that_came_back_as_a_refund_was_not_spent(api: Api, people: People) -> None:
    await people.members(1)
    assert await people.service.voiding.void(DAY, "an outage") == "ok"
    found = await info(api, 1)
    assert (found["spend_money"], found["join_num"], found["balance"]) == (0, 1, 0)


async def test_a_transfer_that_lapses_is_in_the_balance(api: Api, people: People) -> None:
    channel = Scripted()
    people.use(channel)
    await play(people, [1], [2])
    assert (await info(api, 1))["balance"] == 0

    async def lapsed(_action: str, _no: str) -> Result:
        return Result("failed", "lapsed")

    channel.result = lapsed
    await outgoing.send_some(people.service.store, people.service.channels)
    assert (await info(api, 1))["balance"] == 200
    assert (await info(api, 2))["balance"] == 0
    _, items = await history(api, 1)
    [failed] = [item for item in items if item["kind"] == "payout_failed"]
    assert (failed["money"], failed["title"]) == (200, "提现失败，退回余额")
    [payout] = [item for item in items if item["kind"] == "payout"]
    assert (payout["money"], payout["state"]) == (-200, "failed")


async def test_a_refund_that_fails_is_in_the_balance_and_counted_once(api: Api, people: People) -> None:
    channel = Scripted()
    people.use(channel)
    await people.members(1)
    assert await people.service.voiding.void(DAY, "an outage") == "ok"

    async def refused(_action: str, _no: str) -> Result:
        return Result("failed", "account closed")

    channel.result = refused
    await outgoing.send_some(people.service.store, people.service.channels)
    _, items = await history(api, 1)
    assert [(item["kind"], item["money"], item["state"]) for item in items] == [
        ("refund_failed", 100, None),
        ("returned", -100, "failed"),
        ("refund", 100, None),
        ("stake", -100, None),
        ("payment", 100, None),
    ]
    assert (await info(api, 1))["balance"] == 100


# -- the history


async def test_every_money_event_has_one_line_newest_first_in_both_languages(api: Api, people: People) -> None:
    await people.members(1, 2)
    people.it_is("21:00")
    assert await people.pay(1, "T-second") == "refund_due"
    people.it_is("06:00", 1)
    await people.check_in(1)
    await people.settle()
    people.it_is("09:00", 1)
    await people.claim(1)
    await people.drain()
    total, items = await history(api, 1)
    assert total == 7
    assert [(item["kind"], item["money"], item["title"], item["state"]) for item in items] == [
        ("payout", -200, "提现到钱包", "owed"),
        ("packet", 100, "红包", None),
        ("stake_back", 100, "押金返还", None),
        ("returned", -100, "退回原支付账户", "owed"),
        ("unwanted", 100, "多付或迟付的款项", None),
        ("stake", -100, "参加打卡", None),
        ("payment", 100, "支付到账", None),
    ]
    assert {item["round"] for item in items} == {str(DAY)}
    payout, packet, stake_back, *of_order = [item["no"] for item in items]
    assert (payout, packet, stake_back) == ("P202611221", None, None)
    assert set(of_order) == {people.orders[1]}
    made = [item["created_at"] for item in items]
    assert made == sorted(made, reverse=True)
    assert made[0] == people.service.time.now_ms()
    _, english = await history(api, 1, **{"accept-language": "en"})
    titles = ["Paid out", "Red packet", "Stake returned"]
    titles += ["Back to where you paid from", "Payment that was not needed", "Stake", "Payment received"]
    assert [item["title"] for item in english] == titles
    _, others = await history(api, 2)
    assert [(item["kind"], item["money"]) for item in others] == [("stake", -100), ("payment", 100)]


async def test_a_refund_is_in_the_history_with_its_state(api: Api, people: People) -> None:
    channel = Scripted()
    people.use(channel)
    await people.join(1, 2)
    await people.members(3)
    people.it_is("06:00", 1)
    await people.pay(1, paid_at=IN_TIME)  # late, and sleeps on
    await people.check_in(3)
    await people.settle()
    _, items = await history(api, 1)
    assert [(item["kind"], item["money"], item["state"]) for item in items] == [
        ("returned", -100, "owed"),
        ("refund", 100, None),
        ("stake", -100, None),
        ("payment", 100, None),
    ]

    async def done(_action: str, _no: str) -> Result:
        return Result("done")

    channel.result = done
    await outgoing.send_some(people.service.store, people.service.channels)
    total, items = await history(api, 1)
    assert (total, items[0]["title"], items[0]["state"]) == (4, "退回原支付账户", "done")


async def test_pages_hold_every_line_once(api: Api, people: People) -> None:
    """Also the lines of the same instant and kind: each of these payments says which it is by its state."""
    await people.join(1)
    for number in range(100):
        await people.pay(1, f"T{number:02}")
    await people.drain()
    await people.rows("UPDATE outgoing SET state = 'unknown' WHERE transaction_id < 'T50'")
    total, everything = await history(api, 1, "?limit=200")
    assert (total, len(everything)) == (200, 200)
    assert len((await history(api, 1))[1]) == 20
    pages = [await history(api, 1, f"?page={page}&limit=15") for page in range(1, 16)]
    assert {total for total, _ in pages} == {200}
    assert [len(items) for _, items in pages] == [15] * 13 + [5, 0]
    assert [item for _, items in pages for item in items] == everything
    for query in ("?page=0", "?limit=0", "?limit=201", "?page=x"):
        status, reply = await api.send("GET", f"/api/me/history{query}", headers=api.token(1))
        assert (status, reply["code"]) == (400, "bad_request"), query


# -- the place in the list


async def test_who_checked_in_can_look_up_the_own_packet(api: Api, people: People) -> None:
    await people.members(1, 2, 3)
    assert (await api.send("GET", f"/api/me/place/{DAY}", headers=api.token(1)))[1]["code"] == "not_settled"
    people.it_is("06:00", 1)
    await people.check_in(2)
    await people.check_in(1)
    await people.settle()
    found = {}
    for uid in (1, 2, 3):
        status, reply = await api.send("GET", f"/api/me/place/{DAY}", headers=api.token(uid))
        assert (status, reply["code"]) == (200, "ok")
        found[uid] = reply["data"]["place"]
    assert found == {1: 2, 2: 1, 3: None}
    packets = (await api.send("GET", f"/api/rounds/{DAY}/packets"))[1]["data"]["items"]
    assert await people.claim(1, 2) == [packets[found[1] - 1], packets[found[2] - 1]]
    assert (await api.send("GET", "/api/me/place/2027-01-01", headers=api.token(1)))[0] == 404
    assert (await api.send("GET", "/api/me/place/nonsense", headers=api.token(1)))[0] == 400


async def test_the_places_of_the_shards_follow_each_other(shared: Settings) -> None:
    async with new_world(shared, shards=8) as service:
        people = People(service)
        await people.members(*range(1, 25))
        await people.morning(winners=20)
        await people.settle()
        answers = {uid: await me.place(service, uid, DAY) for uid in range(1, 25)}
        places = {uid: answer.data["place"] for uid, answer in answers.items() if answer.data["place"]}
        assert sorted(places.values()) == list(range(1, 21))
        packets = (await public.packets(service, DAY, 1, 100)).data["items"]
        assert await people.claim(*places) == [packets[place - 1] for place in places.values()]


# -- who may read


@pytest.mark.parametrize("path", ["/api/me", "/api/me/history", "/api/me/yesterday", f"/api/me/place/{DAY}"])
async def test_only_the_user_and_services_read_it(api: Api, people: People, path: str) -> None:
    await people.members(1)
    await people.drain()
    own = await api.send("GET", path, headers=api.token(1))
    assert await api.send("GET", f"{path}?uid=1", headers=api.token(1)) == own
    assert await api.send("GET", f"{path}?uid=1", headers=api.token(9, "service")) == own
    assert (await api.send("GET", path, headers=api.token(9, "service")))[0] == 200
    refusals = {
        "another user's": (f"{path}?uid=1", api.token(2), 403, "forbidden"),
        "an operator's": (f"{path}?uid=1", api.token(2, "operator"), 403, "forbidden"),
        "none": (f"{path}?uid=1", {}, 401, "unauthenticated"),
        "a bad one": (path, {"authorization": "Bearer x.y.z"}, 401, "unauthenticated"),
        "none, and nonsense": (f"{path}?uid=0", {}, 401, "unauthenticated"),
        "nonsense": (f"{path}?uid=0", api.token(1), 400, "bad_request"),
        "too large": (f"{path}?uid={2**53}", api.token(9, "service"), 400, "bad_request"),
    }
    for name, (asked, headers, status, code) in refusals.items():
        got, reply = await api.send("GET", asked, headers=headers)
        assert (got, reply["code"]) == (status, code), name


async def test_503_while_postgres_is_away(api: Api, people: People, servers: Servers) -> None:
    await people.members(1)
    await people.drain()
    name = api.settings.database_url.rsplit("/", 1)[1]
    async with await psycopg.AsyncConnection.connect(servers.admin_url, autocommit=True) as admin:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            async with api.session.get(api.url + "/api/me", headers=api.token(1)) as reply:
                assert (reply.status, (await reply.json())["code"]) == (503, "unavailable")
                assert int(reply.headers["Retry-After"]) > 0
            status, answer = await api.send("POST", "/api/check-in/status", {"uid": 1}, api.token(1))
            assert (status, answer["code"]) == (200, "ok")  # the game goes on
        finally:
            await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
