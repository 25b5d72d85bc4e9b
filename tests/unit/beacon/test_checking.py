"""One look at the relays at the start, which holds up nothing."""

from structlog.testing import capture_logs

from clock.beacon.checking import check_beacon
from tests.unit.beacon.stage import NUMBER, double, serving


async def test_the_start_says_which_relays_are_good() -> None:
    good, liar = double(ahead_ms=60_000), double("lie", ahead_ms=60_000)
    async with serving(good, liar) as beacon:
        with capture_logs() as logs:
            await check_beacon(beacon, good.chain.instant_ms(NUMBER) + 60_000)
    assert [(line["event"], line["log_level"], line["relays"], line["number"]) for line in logs] == [
        ("beacon_checked", "info", 1, NUMBER)
    ]
    assert logs[0]["bad"] == {beacon.relays[1]: "not signed by the chain"}


async def test_relays_that_say_nothing_are_a_warning() -> None:
    silent = double("silence")
    async with serving(silent) as beacon:
        with capture_logs() as logs:
            await check_beacon(beacon, silent.chain.instant_ms(NUMBER), seconds=0.1)
    assert [(line["event"], line["log_level"]) for line in logs] == [("beacon_not_checked", "warning")]
    assert silent.asked[0] == NUMBER - 20, "a draw that is a minute old"
