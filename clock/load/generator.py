"""One process of a load test: an open model. Every request has a planned instant, independent of the answers, and its
latency counts from it: a target that stalls is seen by everybody who would have come meanwhile."""

import heapq
import random
import select
from collections import deque
from collections.abc import Iterator
from itertools import count
from time import monotonic, time
from urllib.parse import urlsplit

import msgspec

from clock.load.connection import Broken, Connection, tls
from clock.load.job import Job
from clock.load.journal import ACKNOWLEDGED, Writer
from clock.load.players import NOT_OURS, Players, Reply, data_of
from clock.load.result import Result

EVENTS_AT_ONCE = 256
OPEN_SECONDS = 10.0
OPENING_AT_ONCE = 64
DOUBLE_TAP_S = (0.05, 0.3)
BACK_OFF_S, LONGEST_BACK_OFF_S = 1.0, 30.0
TURN_SECONDS = 0.25
LOOK_SECONDS = 0.1
"""Between two looks for requests that have waited for too long."""

REFUSED = {429, 503}
"""For now: to be sent again."""


class CannotConnect(Exception):
    """The message says why, for a person."""


class Tap(msgspec.Struct, gc=False):
    """A request. ``planned``, ``first``: this one's instant, and that of the operation's first try."""

    uid: int
    verb: str
    raw: bytes
    planned: float
    first: float
    tries: int = 0


class Generator:
    def __init__(self, job: Job, writer: Writer | None) -> None:
        parts = urlsplit(job.url)
        self._job = job
        self._players = Players(job, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"))
        self._host = parts.hostname or ""
        self._context = tls(job.ca_pem) if parts.scheme == "https" else None
        self._journal = writer
        self._decode = msgspec.json.Decoder(Reply).decode
        self._poll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._free: deque[Connection] = deque()
        self._caught_up = 0.0
        """When there was last no connection free and nothing to read. Whatever has been due for longer has waited for
        the target until then; what it has waited since, it may have waited for us."""
        self._busy = 0
        """Connections with a request whose answer is awaited."""
        self._look_at = 0.0
        self._later: list[tuple[float, int, Tap]] = []
        self._numbers = count()
        self._held: dict[int, float] = {}
        self._chance = random.Random(job.part)  # noqa: S311 - who taps twice is no secret
        self.result = Result(url=job.url, verb=job.verb, planned_s=job.curve.seconds, late_bound_us=job.late_bound_us)

    # -- before the start

    def prepare(self) -> None:
        """Make users' tokens."""
        self._players.prepare()

    def connect(self) -> None:
        """Open the connections that are kept, and those anew that the target has closed meanwhile. Raises
        :class:`CannotConnect`."""
        if self._job.cold:
            return
        until, opening, wait_s = monotonic() + OPEN_SECONDS, 0, 0.0
        while True:
            for fd, _ in self._poll.poll(wait_s, EVENTS_AT_ONCE):
                opening -= self._went_on(self._connections[fd])
            if len(self._free) >= self._job.connections:
                return
            while opening < OPENING_AT_ONCE and len(self._connections) < self._job.connections:
                self._open()
                opening += 1
            wait_s = TURN_SECONDS
            if monotonic() > until:
                raise CannotConnect(f"{len(self._free)} of {self._job.connections} connections in {OPEN_SECONDS:.0f} s")

    def _went_on(self, connection: Connection) -> bool:
        """Whether it has just opened."""
        was_open = connection.is_open
        try:
            connection.advance()
        except Broken as error:
            if was_open:
                self._break(connection)
                return False
            raise CannotConnect(f"{len(self._free)} connections were opened, the next was not: {error}") from None
        if was_open or not connection.is_open:
            return False
        self._free.append(connection)
        return True

    def _open(self) -> Connection:
        connection = Connection(self._poll, self._job.address, self._context, self._host)
        self._connections[connection.fd] = connection
        return connection

    # -- the run

    def run(self, start: float) -> Iterator[None]:
        """Play the plan, whose zero is ``start``; yields after each turn, so that the caller can tell how far it is."""
        self._start = self._caught_up = start
        self.result.started_s = time() - monotonic() + start
        self._plan = enumerate(self._job.curve.dues(self._job.part, self._job.parts))
        self._head = next(self._plan, None)
        until = start + self._job.curve.seconds + self._job.patience_s
        while (self._head or self._later or self._busy) and (now := monotonic()) < until:
            if not self.result.is_whole:
                self._head, self._later = None, []
            self._send_due(now)
            self._take_answers(until)
            self._give_up(monotonic())
            yield
        self._count_unsent()
        for connection in self._connections.values():
            connection.close()

    def stop(self) -> None:
        """Send nothing more; the run ends with the answers that are awaited. May be called by a signal."""
        self.result.is_whole = False

    def _next_due(self) -> float | None:
        of_plan = self._start + self._head[1] if self._head else None
        of_later = self._later[0][0] if self._later else None
        if of_plan is None or of_later is None:
            return of_plan if of_later is None else of_later
        return min(of_plan, of_later)

    def _has_room(self) -> bool:
        return bool(self._free) or len(self._connections) < self._job.connections

    def _send_due(self, now: float) -> None:
        """What is due, as far as there are connections; waiting for one counts as latency."""
        while self._has_room() and (due := self._next_due()) is not None and due <= now:
            tap = self._take()
            held = self._held.get(tap.uid, 0.0)
            if held > now:
                self.result.held_back += 1
                first = tap.first if tap.tries else held
                self._put_later(msgspec.structs.replace(tap, planned=held, first=first))
                continue
            if held:
                del self._held[tap.uid]
            self._send(tap)
            now = monotonic()

    def _take(self) -> Tap:
        if self._later and (not self._head or self._later[0][0] <= self._start + self._head[1]):
            return heapq.heappop(self._later)[2]
        assert self._head
        number, due = self._head
        self._head = next(self._plan, None)
        self.result.planned += 1
        self.result.step(due).planned += 1
        uid, planned = self._players.uid(number), self._start + due
        tap = Tap(uid, self._job.verb, self._players.request(self._job.verb, uid), planned, planned)
        if self._job.double_share and self._chance.random() < self._job.double_share:
            self.result.doubled += 1
            again = planned + self._chance.uniform(*DOUBLE_TAP_S)
            self._put_later(msgspec.structs.replace(tap, planned=again, first=again))
        return tap

    def _put_later(self, tap: Tap) -> None:
        heapq.heappush(self._later, (tap.planned, next(self._numbers), tap))

    def _send(self, tap: Tap) -> None:
        connection = self._free.popleft() if self._free else self._open()
        connection.tap = tap
        now = monotonic()
        self.result.late.add(int(1e6 * (now - max(tap.planned, self._caught_up))))
        self.result.step(now - self._start).sent += 1
        connection.deadline = now + self._job.timeout_s
        self._busy += 1
        try:
            connection.send(tap.raw)
        except Broken:
            self._break(connection)

    def _take_answers(self, until: float) -> None:
        now = monotonic()
        has_room = self._has_room()
        due = self._next_due() if has_room else None
        wait = min(TURN_SECONDS, until - now, *([] if due is None else [due - now]))
        woken = now
        events = self._poll.poll(0, EVENTS_AT_ONCE)
        if not events:
            events = self._poll.poll(max(0.0, wait), EVENTS_AT_ONCE)
            woken = monotonic()
            if not has_room:
                self._caught_up = woken
        for fd, _ in events:
            connection = self._connections.get(fd)
            if connection is None:
                continue
            try:
                if connection.advance() and connection.tap is not None:
                    self._answered(connection, woken)
            except Broken:
                self._break(connection)

    def _answered(self, connection: Connection, woken: float) -> None:
        now = monotonic()
        self.result.late.add(int(1e6 * (now - woken)))
        tap: Tap = connection.tap
        try:
            reply = self._decode(connection.body)
        except msgspec.DecodeError:
            reply = Reply()
        self._busy -= 1
        status, retry_after_s = connection.status, connection.retry_after_s
        self._count(tap, f"{status} {reply.code}", now, status != 200 or self._is_unexpected(tap.verb, reply.code))
        if self._job.cold or not connection.may_be_kept:
            self._drop(connection)
        else:
            connection.tap = None
            connection.begin_answer()
            self._free.append(connection)
        if status in REFUSED:
            if retry_after_s:
                self._held[tap.uid] = max(self._held.get(tap.uid, 0.0), now + retry_after_s)
            self._try_again(tap, now, retry_after_s)
        else:
            self._ended(tap, status, reply, now)

    def _is_unexpected(self, verb: str, code: str) -> bool:
        is_other = bool(self._job.expected) and verb == self._job.verb and code not in self._job.expected
        return is_other or code == NOT_OURS

    def _count(self, tap: Tap, code: str, now: float, is_error: bool) -> None:
        us = int(1e6 * (now - tap.planned))
        self.result.answered(code, us, is_error)
        self.result.seconds = now - self._start
        step = self.result.step(now - self._start)
        step.answered += 1
        step.most_us = max(step.most_us, us)

    def _ended(self, tap: Tap, status: int, reply: Reply, now: float) -> None:
        self.result.operations.add(int(1e6 * (now - tap.first)))
        if status != 200:
            return
        if self._journal and reply.code in ACKNOWLEDGED.get(tap.verb, ()):
            data = data_of(reply)
            money_fen = data.assign.total if data.assign else data.amount
            now_ms = int(1000 * (time() + self._job.clock_ahead_s))
            self._journal.write(tap.uid, tap.verb, reply.code, money_fen, now_ms)
        for verb, raw in self._players.next_of(tap.verb, tap.uid, reply):
            self._put_later(Tap(tap.uid, verb, raw, now, now))

    def _try_again(self, tap: Tap, now: float, retry_after_s: float) -> None:
        """With the same body, after what the service said, otherwise after a time that doubles; or give up."""
        if tap.tries >= self._job.retries:
            self.result.operations.add(int(1e6 * (now - tap.first)))
            return
        self.result.repeated += 1
        back_off_s = min(LONGEST_BACK_OFF_S, BACK_OFF_S * 2**tap.tries) * self._chance.uniform(0.5, 1.0)
        due = now + (retry_after_s or back_off_s)
        self._put_later(Tap(tap.uid, tap.verb, tap.raw, due, tap.first, tap.tries + 1))

    def _break(self, connection: Connection, word: str = "0 broken") -> None:
        """No answer comes any more."""
        tap: Tap | None = connection.tap
        if tap is None and connection in self._free:
            self._free.remove(connection)
        self._drop(connection)
        if tap is not None:
            self._busy -= 1
            now = monotonic()
            self._count(tap, word, now, True)
            self._try_again(tap, now, 0.0)

    def _drop(self, connection: Connection) -> None:
        connection.tap = None
        del self._connections[connection.fd]
        connection.close()

    def _give_up(self, now: float) -> None:
        """Requests that have waited for too long; their connections are of no use any more."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        for connection in [one for one in self._connections.values() if one.tap is not None and one.deadline <= now]:
            self._break(connection, "0 timeout")

    def _count_unsent(self) -> None:
        """At the end of patience: what was sent has timed out, the rest was never sent."""
        for connection in self._connections.values():
            if connection.tap is not None:
                self._count(connection.tap, "0 timeout", monotonic(), True)
        if not self.result.is_whole:
            return
        of_plan = self._job.curve.count_of(self._job.part, self._job.parts) - self.result.planned
        self.result.unsent = len(self._later) + of_plan
