"""What operators do is written down under their names before it is done, and a large sum needs two of them."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest

from clock.config import Settings
from clock.domain.outcomes import Answer, Unavailable
from clock.operators.acts import Act, By, listed, perform
from clock.runtime.ports import free_port
from clock.service import Service

ANNA, BEN = By("anna", "192.0.2.1"), By("ben", "192.0.2.2")
GIVE = Act("void", "2026-11-22", {"how": "all"}, "a storm", 1_001)


class Work:
    """Counts how often it is done."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.done = 0
        self.fails = fails

    async def __call__(self, _: int) -> Answer:
        self.done += 1
        if self.fails:
            raise self.fails
        return Answer("ok", {"done": self.done})


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, second_name_fen=1_000)


async def acts(service: Service, **of: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await listed(service, 1, 50, **of)).data["items"]
    return items


async def tamper(service: Service, statement: str, *, triggers: bool = True) -> None:
    async with service.store.transaction() as connection:
        if not triggers:
            await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(statement.encode())


async def test_an_act_is_written_before_it_is_done_and_then_what_became_of_it(service: Service) -> None:
    seen: list[Any] = []

    async def work(_: int) -> Answer:
        seen.extend(await acts(service))
        return Answer("settled")

    assert (await perform(service, ANNA, Act("settle", "2026-11-22"), work)).word == "settled"
    assert [(one["who"], one["address"], one["act"], one["about"], one["word"]) for one in seen] == [
        ("anna", "192.0.2.1", "settle", "2026-11-22", None)
    ]
    [one] = await acts(service)
    assert (one["word"], one["waits"]) == ("settled", False)
    assert one["ended_ms"] >= one["at_ms"] > 0


@pytest.mark.parametrize(
    ("error", "word"), [(Unavailable("Postgres"), "unavailable"), (KeyError("fen"), "internal")], ids=["away", "broke"]
)
async def test_an_act_that_fails_says_so(service: Service, error: Exception, word: str) -> None:
    with pytest.raises(type(error)):
        await perform(service, ANNA, Act("settle", "2026-11-22"), Work(error))
    assert [one["word"] for one in await acts(service)] == [word]


async def test_nothing_is_done_that_cannot_be_written(settings: Settings) -> None:
    gone = msgspec.structs.replace(settings, database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere")
    service, work = Service(gone, answer_seconds=1.5), Work()
    await service.start()
    try:
        with pytest.raises(Unavailable):
            await perform(service, ANNA, Act("settle", "2026-11-22"), work)
    finally:
        await service.stop()
    assert work.done == 0


async def test_what_was_written_stays(service: Service) -> None:
    await perform(service, ANNA, GIVE, Work())
    for table in ("acts", "acts_ended"):
        for statement in (f"UPDATE {table} SET at = now()", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
            with pytest.raises(psycopg.errors.RestrictViolation):
                await tamper(service, statement)


async def test_a_large_sum_waits_for_another_name(service: Service) -> None:
    work = Work()
    for _ in range(2):
        assert (await perform(service, ANNA, GIVE, work)).word == "second_name_needed"
    assert (work.done, [one["waits"] for one in await acts(service)]) == (0, [True, True])
    assert (await perform(service, BEN, GIVE, work)).word == "ok"
    assert [(one["who"], one["waits"]) for one in await acts(service)] == [
        ("ben", False),
        ("anna", False),
        ("anna", False),
    ]
    assert work.done == 1


async def test_what_two_names_wanted_once_is_not_done_again_on_one_of_them(service: Service) -> None:
    work = Work()

    async def away(_: int) -> Answer:
        raise Unavailable("a server is away")

    await perform(service, ANNA, GIVE, work)
    with pytest.raises(Unavailable):
        await perform(service, BEN, GIVE, away)
    assert (await perform(service, BEN, GIVE, work)).word == "ok", "it was not done: asked for again, it is"
    for one in (BEN, BEN):
        assert (await perform(service, one, GIVE, work)).word == "second_name_needed"
    assert work.done == 1
    assert (await perform(service, ANNA, GIVE, work)).word == "ok"
    assert (work.done, (await perform(service, ANNA, GIVE, work)).word) == (2, "second_name_needed")


CHANGED: dict[str, tuple[dict[str, Any], bool]] = {
    "day": ({"about": "2026-11-23"}, False),
    "verb": ({"act": "release"}, False),
    "detail": ({"detail": {"how": "half"}}, False),
    "reason": ({"reason": "I think so, too"}, True),
    "grown": ({"amount_fen": 2_000}, True),
}


@pytest.mark.parametrize(("change", "same"), CHANGED.values(), ids=CHANGED)
async def test_the_second_name_must_want_the_same(service: Service, change: dict[str, Any], same: bool) -> None:
    work = Work()
    await perform(service, ANNA, GIVE, work)
    word = (await perform(service, BEN, msgspec.structs.replace(GIVE, **change), work)).word
    assert (word, work.done) == (("ok", 1) if same else ("second_name_needed", 0))


async def test_the_first_name_is_forgotten_after_a_day(service: Service) -> None:
    work = Work()
    await perform(service, ANNA, GIVE, work)
    await tamper(service, "UPDATE acts SET at = at - interval '24 hours 1 minute'", triggers=False)
    assert [one["waits"] for one in await acts(service)] == [False]
    assert (await perform(service, BEN, GIVE, work)).word == "second_name_needed"
    assert work.done == 0


@pytest.mark.parametrize("amount", [None, 0, 1_000])
async def test_a_small_sum_needs_one_name(service: Service, amount: int | None) -> None:
    act = msgspec.structs.replace(GIVE, amount_fen=amount)
    assert (await perform(service, ANNA, act, Work())).word == "ok"


async def test_two_names_at_one_instant_do_not_wait_for_each_other_for_ever(service: Service) -> None:
    work = Work()
    words = await asyncio.gather(*(perform(service, one, GIVE, work) for one in (ANNA, BEN)))
    words.append(await perform(service, ANNA, GIVE, work))
    assert work.done == [one.word for one in words].count("ok") == 1, "the second or the third has it done"


async def test_acts_are_found_by_what_they_are_about_and_by_name(service: Service) -> None:
    work: Callable[[int], Any] = Work()
    await perform(service, ANNA, GIVE, work)
    await perform(service, BEN, Act("settle", "2026-11-21"), work)
    assert [one["who"] for one in await acts(service, about="2026-11-22")] == ["anna"]
    assert [one["about"] for one in await acts(service, who="ben")] == ["2026-11-21"]
    assert await acts(service, who="ben", about="2026-11-22") == []
