"""A user who is forgotten is named nowhere, but where money needs it; that is said, with why and until when."""

import time

import pytest

from clock.books import outbox
from clock.books.months import Month
from clock.domain.shapes import Extra
from clock.operators import quarantine
from clock.operators.records import archive, files
from tests.conftest import DAY
from tests.flow.personal.stage import (
    ANNA,
    forgotten,
    kept,
    long_ago,
    named_in_postgres,
    named_in_redis,
    names_of,
    paid_out,
    wrong_callback,
)
from tests.flow.stage import People
from tests.flow.withdrawals.stage import Puller, due, withdraw, won

BOOKS = {("books", "accounting"), ("acts", "accountability")}
"""By law, for as long as there are books."""
MEMORY = ("redis", "round_in_memory")


async def decide(people: People, amount: int) -> None:
    await people.drain()
    [row] = await people.rows(
        "SELECT encode(digest, 'hex') AS id FROM quarantine WHERE raw LIKE %s", f"%wrong {amount}%"
    )
    assert (await quarantine.release(people.service, row["id"], "dismiss", "seen", "anna")).word == "released"


async def test_a_winner_is_forgotten_step_by_step(people: People) -> None:
    await people.members(71, 72)
    await people.service.flags.remind(71, True, time.monotonic())
    answer = await forgotten(people, 71)  # what they said is still on its way to the books
    assert answer.data["replaced"] == {"profiles": 1, "reminder_switch": 1}
    assert (answer.word, kept(answer)) == ("forgotten_in_part", BOOKS | {MEMORY, ("orders", "round_open")})
    assert await named_in_postgres(people, 71) == {"orders", "payments"}
    assert (await people.service.flags.of(71, time.monotonic()))[0] == 0

    await people.morning(winners=2)
    await people.settle()
    await people.claim(71)
    await people.finish()
    await people.drain()
    answer = await forgotten(people, 71)
    assert answer.data["replaced"] == {"payments": 1}
    assert kept(answer) == BOOKS | {MEMORY, ("orders", "money_open")}
    assert await named_in_postgres(people, 71) == {"orders"}

    await paid_out(people)
    answer = await forgotten(people, 71)
    assert (answer.data["replaced"], kept(answer)) == ({"orders": 1}, BOOKS | {MEMORY})
    assert await named_in_postgres(people, 71) == set()
    assert await named_in_redis(people, 71) == {"members", "outbox"}
    [until] = [one["until"] for one in answer.data["kept"] if one["place"] == "redis"]
    assert until > str(DAY)

    await long_ago(people)
    answer = await forgotten(people, 71)
    assert (answer.word, answer.data["replaced"], kept(answer)) == (
        "forgotten",
        {},
        BOOKS,
    )
    assert await named_in_redis(people, 71) == set()
    assert await named_in_postgres(people, 72) == {"orders", "payments", "profiles"}
    assert sum((await people.balances()).values()) == 0
    [info] = await people.rows("SELECT stakes, income_fen FROM accounts WHERE uid = 71")
    assert info["stakes"] == 1


async def test_a_withdrawal_says_to_whom_until_it_is_over(people: People) -> None:
    puller = Puller()
    people.use(puller)
    await won(people)
    await withdraw(people)
    await people.finish()
    await people.drain()
    await due(people)
    answer = await forgotten(people, 1)
    assert ("outgoing", "money_open") in kept(answer), "it may have to be sent again"
    assert await named_in_postgres(people, 1) == {"outgoing"}
    assert await people.rows("SELECT uid FROM withdrawals WHERE confirm IS NOT NULL")

    puller.confirm("W1N1")
    await due(people)
    answer = await forgotten(people, 1)
    assert (answer.data["replaced"], kept(answer)) == ({"outgoing": 1, "withdrawals": 1}, BOOKS | {MEMORY})
    assert await named_in_postgres(people, 1) == set()
    assert await people.rows("SELECT uid FROM withdrawals WHERE confirm IS NOT NULL") == []
    assert puller.paid_fen() == 200


async def test_what_postgres_reads_again_names_nobody_anew(people: People) -> None:
    await people.members(71)
    await forgotten(people, 71)
    await outbox.go_back(people.service.redis, DAY, 0)
    await people.rows("DELETE FROM outbox_positions")
    await people.drain()
    assert await named_in_postgres(people, 71) == {"orders", "payments"}


async def test_whoever_comes_back_is_known_again(people: People) -> None:
    await people.members(71)
    await forgotten(people, 71)
    people.it_is("21:00")
    await people.service.home.summary(71, Extra(nickname="新名字"), time.monotonic())
    await people.drain()
    [profile] = await people.rows("SELECT nickname, mobile, open_id FROM profiles WHERE uid = 71")
    assert (profile["nickname"], profile["mobile"], profile["open_id"]) == ("新名字", "", "")


async def test_an_unpaid_order_and_its_callbacks_are_forgotten(people: People) -> None:
    await people.join(74)
    for amount in (1, 2):
        await wrong_callback(people, 74, amount)
    await decide(people, 1)
    answer = await forgotten(people, 74)
    assert answer.data["replaced"] == {"profiles": 1, "quarantine": 1}
    assert ("quarantine", "decision_open") in kept(answer)
    await decide(people, 2)
    await people.settle()
    await people.finish()
    answer = await forgotten(people, 74)
    assert answer.data["replaced"] == {"orders": 1, "quarantine": 1}
    assert await named_in_postgres(people, 74) == set()
    listed = await quarantine.quarantined(people.service.store, people.service.channels, 1, 50)
    assert [one["order_no"] for one in listed.data["items"]] == [people.orders[74]] * 2


async def test_a_guest_is_forgotten_and_a_stranger_is_not_known(people: People) -> None:
    mobile, nickname, open_id = names_of(75)
    await people.service.home.summary(75, Extra(mobile=mobile, nickname=nickname, openId=open_id), time.monotonic())
    await people.drain()
    assert await named_in_postgres(people, 75) == {"profiles"}
    answer = await forgotten(people, 75)
    assert (answer.data["replaced"], MEMORY in kept(answer)) == ({"profiles": 1}, True)
    assert await named_in_redis(people, 75) == {"outbox"}, "what is kept there was said"
    assert await named_in_postgres(people, 75) == set()
    assert (await forgotten(people, 76)).word == "person_not_found"


async def test_a_month_that_is_being_archived_names_users_until_it_has_left(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    await people.members(71)
    await people.morning(winners=1)
    await people.settle()
    await people.claim(71)
    await people.finish()
    await people.drain()
    await paid_out(people)
    await people.rows("DELETE FROM rounds WHERE finished_at IS NULL")  # nobody played these
    await people.rows("INSERT INTO reconciliations (day, differences, mended) SELECT day, '[]', '[]' FROM rounds")
    await long_ago(people)
    month = Month.of(DAY)
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_manifest", full)
        patch.setattr(archive, "old_months", lambda *_: _now([month]))
        answer = await archive.archive(people.service, ANNA, month)
        assert answer.word == "disk_full", answer
        answer = await forgotten(people, 71)
    assert ("orders", "archiving") in kept(answer)
    await archive.restore(people.service, ANNA, month)
    answer = await forgotten(people, 71)
    assert (answer.word, answer.data["replaced"]) == ("forgotten", {"orders": 1, "payments": 1})


async def _now(value: list[Month]) -> list[Month]:
    return value
