"""An operator makes the check-in of a round longer: in all shards, while it is open in each, by at most an hour with
what outages have added (docs/rules.md, *Outages*)."""

from datetime import date

import structlog

from clock.domain.outcomes import Unavailable
from clock.rounds.ending import Ending

log = structlog.get_logger()

REFUSALS = ("check_in_closed", "too_long")


class Extending:
    """Repeatable: the same minutes with the same reason are the same extension."""

    def __init__(self, ending: Ending) -> None:
        self._ending = ending
        self._store = ending.store

    async def extend(self, day: date, minutes: int, reason: str, by_whom: str) -> str:
        """Answers ``extended``, ``check_in_closed``, ``too_long`` or ``round_not_found``. Raises
        :class:`Unavailable`; a retry is safe, and settlement completes what was begun."""
        async with self._ending.alone(day) as round_:
            if round_ is None:
                return "round_not_found"
            if round_.state != "open":
                return "check_in_closed"
            await self._ending.opener.open_round(day)
            said = {"minutes": minutes, "reason": reason, "by_whom": by_whom}
            asked = await self._store.all("asked_extensions", day=day)
            known = [one for one in asked if (one["minutes"], one["reason"]) == (minutes, reason)]
            if not known:
                words = await self._ending.extend(round_, {"number": len(asked) + 1, **said}, "check")
                for refusal in REFUSALS:
                    if refusal in words:
                        return refusal
                _require(day, words)
                await self._store.all("ask_extension", day=day, number=len(asked) + 1, **said)
                known = [{"number": len(asked) + 1, **said}]
            _require(day, await self._ending.extend(round_, known[0]))
            await self._ending.drain(round_)
            log.info("check_in_extended", day=str(day), **said)
            return "extended"


def _require(day: date, words: set[str]) -> None:
    if unexpected := words - {"possible", "extended", "already_extended"}:
        raise Unavailable(f"the check-in of {day} is not extended: {', '.join(sorted(unexpected))}")
