"""One look at a beacon's relays, at the start."""

import structlog

from clock.beacon.relays import Beacon, survey

OLD_MS = 60_000
"""A draw of this age is at every relay, also by a clock that is a little ahead."""

ANSWER_SECONDS = 5.0

log = structlog.get_logger()


async def check_beacon(beacon: Beacon, now_ms: int, seconds: float = ANSWER_SECONDS) -> None:
    """Log which relays have a draw that is long out. One that has none holds up no start: a round whose draw cannot be
    had is split ``equal``."""
    number = beacon.chain.latest(now_ms - OLD_MS)
    said = await survey(beacon, number, seconds)
    bad = {relay: why for relay, why in said.items() if why}
    tell = log.info if len(bad) < len(said) else log.warning
    event = "beacon_checked" if len(bad) < len(said) else "beacon_not_checked"
    tell(event, chain=beacon.chain.name, number=number, relays=len(said) - len(bad), bad=bad)
