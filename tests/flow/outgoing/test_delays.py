"""How long it takes until it is tried again."""

from clock.payments import outgoing
from tests.conftest import Api
from tests.flow.outgoing.stage import PAYOUT, owe_a_payout
from tests.flow.stage import People, Scripted, send


def test_the_wait_grows_to_hours_and_two_senders_do_not_wait_equally_long() -> None:
    bounds = []
    for attempts in range(1, 60):
        waits = [outgoing.delay_seconds(attempts) for _ in range(300)]
        whole = min(outgoing.LONGEST_DELAY_SECONDS, outgoing.FIRST_DELAY_SECONDS * 2**attempts)
        assert whole / 2 <= min(waits) < 0.6 * whole
        assert 0.9 * whole < max(waits) <= whole
        bounds.append(whole)
    assert bounds == sorted(bounds)
    assert (bounds[0], bounds[-1]) == (4.0, 6 * 3600.0)


async def test_what_failed_waits_before_it_is_tried_again(people: People) -> None:
    channel = Scripted()
    people.use(channel)
    await owe_a_payout(people)
    waits = []
    for _ in range(6):
        await send(people)
        [row] = await people.rows("SELECT extract(epoch FROM next_at - now())::float8 AS seconds FROM outgoing")
        waits.append(row["seconds"])
        assert await outgoing.send_some(people.service.store, people.service.channels) == 0
    for attempt, wait in enumerate(waits, 1):
        assert 2**attempt - 1 < wait <= 2 * 2**attempt
    assert len(channel.calls) == 6


async def test_what_is_tried_for_hours_is_listed_as_stuck(api: Api) -> None:
    people = People(api.service)
    people.use(Scripted())
    await owe_a_payout(people)

    async def stuck() -> list[tuple[str, int]]:
        _, reply = await api.send("GET", "/ops/outgoing?state=stuck", headers=api.token(9, "operator"))
        return [(item["no"], item["attempts"]) for item in reply["data"]["items"]]

    for _ in range(outgoing.STUCK_ATTEMPTS - 1):
        await send(people)
    assert await stuck() == []
    await send(people)
    assert await stuck() == [(PAYOUT, outgoing.STUCK_ATTEMPTS)]
    waited = sum(outgoing.FIRST_DELAY_SECONDS * 2**n / 2 for n in range(1, outgoing.STUCK_ATTEMPTS))
    assert waited > 3600  # nobody is called for the first hour
