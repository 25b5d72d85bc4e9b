"""Users' profiles: a new profile is written to the outbox once; the process caches what it has written."""

from collections import Counter

from clock.domain.outcomes import SlowDown
from clock.domain.shapes import Extra
from clock.game import keys
from clock.game.asking import Asking
from clock.game.scripts import load

PROFILE = load("profile")

PROFILES_REMEMBERED = 100_000

MOST_CHANGES = 10
"""Of one user's profile in a minute, in a process: each takes a kilobyte of Redis' file."""


class Profiles:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._known: dict[int, Extra] = {}
        self._minute = 0
        self._changes: Counter[int] = Counter()

    async def note(self, uid: int, extra: Extra, arrived: float) -> None:
        """Write the profile to the outbox, unless this process wrote the same one last. Raises :class:`SlowDown`."""
        if self._known.get(uid) == extra or not (extra.mobile or extra.nickname or extra.openId):
            return
        self._bound(uid, int(arrived // 60))
        asking = self._asking
        round_ = await asking.round(asking.calendar.day_at(asking.time.now_ms()))
        shard = keys.shard_of(uid, round_.rules.shards)
        texts = (extra.openId or "", extra.mobile or "", extra.nickname or "")
        await asking.ask(PROFILE, round_, shard, (uid, *texts), arrived)
        if len(self._known) >= PROFILES_REMEMBERED:
            self._known.clear()
        self._known[uid] = extra

    def _bound(self, uid: int, minute: int) -> None:
        if minute != self._minute:
            self._minute = minute
            self._changes.clear()
        if self._changes[uid] >= MOST_CHANGES:
            raise SlowDown
        self._changes[uid] += 1

    def forget(self, uid: int) -> None:
        """Another script has written a profile of the user, so that the next one must be written again."""
        self._known.pop(uid, None)
