"""What users did in a round by the books and Redis has forgotten: by whom, what, when, and the money of it."""

from typing import Any

from clock.audit.contents import stage_of
from clock.audit.hashes import Comparison, Users, drained
from clock.rounds.recorded import Recorded
from clock.service import Service

STAGE_OF_VERB = {"join": 1, "pay": 2, "check_in": 3, "claim": 4}
"""How far each verb takes a user, by :func:`~clock.audit.contents.stage_of`."""


async def lost_steps(service: Service, round_: Recorded, here: list[int]) -> list[dict[str, Any]]:
    """``uid``, ``verb``, ``at_ms``, ``fen``, in the order in which they were done; of some
    :data:`~clock.audit.report.MOST` users at most. ``here``: the shards that are in Redis. While people play, too.
    Raises :class:`~clock.domain.outcomes.Unavailable`."""
    await drained(service, round_, here)
    records = Comparison(service, round_, here, Users(round_))
    await records.run()
    left = {
        int(uid): stage_of(redis)
        for (_, uid), (redis, books) in records.differing.items()
        if stage_of(redis) < stage_of(books)
    }
    found = await service.store.all("lost_steps", day=round_.day, uids=list(left))
    return [row for row in found if STAGE_OF_VERB[row["verb"]] > left[row["uid"]]]
