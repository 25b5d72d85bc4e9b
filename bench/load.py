"""The load generator: one process, one epoll, prebuilt requests; as little Python per request as possible.

``python -m bench.load`` reads a :class:`Job` as MessagePack from its input, says ``ready``, waits for a line, and
writes a :class:`Report`. *Closed*: every connection sends its next request when the last one is answered.
*Open*: request ``i`` is due at a planned instant, independent of the others; its latency counts from that instant.
"""

import os
import select
import socket
import sys
from array import array
from collections import Counter, deque
from time import monotonic, sleep

import msgspec

READ = 65_536
SAMPLE_S = 0.05
CONNECT_AT_ONCE = 64


class Job(msgspec.Struct, kw_only=True):
    """``requests`` are sent in order, and repeated if ``count`` is larger than their number."""

    port: int
    requests: list[bytes]
    count: int
    connections: int
    warm_up: int = 0
    """Number of requests at the beginning that are not counted."""
    rate: float = 0.0
    """Open model: requests due a second, evenly; 0: closed model, or all at once with ``at_once``."""
    at_once: bool = False
    """Open model: all due at the start."""
    most_s: float = 120.0
    """Time limit of the run."""
    kinds: int = 1
    """The requests cycle through this many kinds; latency is reported for each kind."""


class Side(msgspec.Struct, kw_only=True):
    """Latencies in ms of one kind, in order of size."""

    answered: int
    percentiles: dict[str, float]
    curve: list[tuple[float, float]]
    """Percentile, ms: for the plot."""


class Report(msgspec.Struct, kw_only=True):
    seconds: float
    answered: int
    per_second: float
    codes: dict[str, int]
    """Answers by ``<HTTP status> <code>``."""
    retry_after: int
    """How many of the refusals said ``Retry-After``."""
    lost: int
    """Connections that broke."""
    unsent: int
    """Open model: planned, and not sent before the end."""
    kinds: list[Side]
    by_code: dict[str, Side]
    since_sent: dict[str, Side]
    """By code, counted from the actual sending: the latency of the service alone."""
    finished: list[int]
    """Answers in each 50 ms from the start."""
    cpu_s: float
    """The generator's own."""


PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
CURVE = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0)


def percentile(ordered: list[float], percent: float) -> float:
    """Nearest rank; 0 for nothing."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, -(-int(percent * len(ordered)) // 100) - 1))]


def side(latencies_ms: list[float]) -> Side:
    ordered = sorted(latencies_ms)
    return Side(
        answered=len(ordered),
        percentiles={name: percentile(ordered, percent) for name, percent in PERCENTILES.items()},
        curve=[(percent, percentile(ordered, percent)) for percent in CURVE],
    )


class Generator:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._sent_at: dict[int, float] = {}
        self._written_at: dict[int, float] = {}
        self._number: dict[int, int] = {}
        self._partial: dict[int, bytes] = {}
        self._waits = array("d")
        self._services = array("d")
        self._ends = array("d")
        self._numbers = array("q")
        self._words: list[bytes] = []
        self._same: dict[bytes, bytes] = {}
        self._retry_after = self._lost = 0

    def connect(self) -> None:
        for number in range(self._job.connections):
            self._connect_one()
            if number % CONNECT_AT_ONCE == CONNECT_AT_ONCE - 1:
                sleep(0.002)

    def _connect_one(self) -> int:
        one = socket.create_connection(("127.0.0.1", self._job.port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one.setblocking(False)
        fd = one.fileno()
        self._sockets[fd] = one
        self._poll.register(fd, select.EPOLLIN)
        return fd

    def run(self) -> Report:
        job, cpu = self._job, os.times()
        start = monotonic()
        next_number = self._closed(start) if not (job.rate or job.at_once) else self._open(start)
        end = monotonic()
        used = os.times()
        cpu_s = used.user + used.system - cpu.user - cpu.system
        return self._report(start, end, cpu_s, job.count - next_number)

    def _closed(self, start: float) -> int:
        """Keep every connection busy; the number of the first request that was not sent."""
        requests, count, size = self._job.requests, self._job.count, len(self._job.requests)
        number = 0
        for fd in list(self._sockets):
            if number < count:
                self._send(fd, requests[number % size], number, monotonic())
                number += 1
        deadline = start + self._job.most_s
        while len(self._waits) < number and monotonic() < deadline:
            for fd, _ in self._poll.poll(0.5):
                if self._receive(fd) and number < count:
                    self._send(fd, requests[number % size], number, monotonic())
                    number += 1
        return number

    def _open(self, start: float) -> int:
        """Send due requests on free connections; time spent waiting for a free connection counts as latency."""
        job, requests, size = self._job, self._job.requests, len(self._job.requests)
        free, number = deque(self._sockets), 0
        deadline = start + job.most_s
        while (len(self._waits) < job.count) and (now := monotonic()) < deadline:
            due = job.count if job.at_once else min(job.count, int((now - start) * job.rate) + 1)
            while number < due and free:
                planned = start if job.at_once else start + number / job.rate
                self._send(free.popleft(), requests[number % size], number, planned)
                number += 1
            wait = 0.5 if number == job.count or not free else max(0.0, start + number / job.rate - monotonic())
            for fd, _ in self._poll.poll(min(wait, 0.5)):
                if self._receive(fd):
                    free.append(fd)
        return number

    def _send(self, fd: int, request: bytes, number: int, planned: float) -> None:
        self._sent_at[fd] = planned
        self._number[fd] = number
        self._written_at[fd] = monotonic()
        try:
            written = os.write(fd, request)
        except OSError:
            self._broken(fd)
            return
        assert written == len(request), "a request must fit into the socket's buffer"

    def _receive(self, fd: int) -> bool:
        """Read; whether an answer is complete, which is then counted."""
        try:
            data = os.read(fd, READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._broken(fd)
            return False
        if fd in self._partial:
            data = self._partial.pop(fd) + data
        head = data.find(b"\r\n\r\n")
        if head < 0 or len(data) < head + 4 + _length(data):
            self._partial[fd] = data
            return False
        now = monotonic()
        self._waits.append(now - self._sent_at[fd])
        self._services.append(now - self._written_at[fd])
        self._ends.append(now)
        self._numbers.append(self._number[fd])
        code = data.find(b'"code":"', head) + 8
        word = data[9:13] + data[code : data.find(b'"', code)] if code > head else data[9:12] + b" " + data[head + 4 :]
        self._words.append(self._same.setdefault(word, word))
        if b"retry-after" in data[:head]:
            self._retry_after += 1
        return True

    def _broken(self, fd: int) -> None:
        """Counted as an answer that never came; another connection takes its place."""
        self._lost += 1
        self._poll.unregister(fd)
        self._sockets.pop(fd).close()
        now = monotonic()
        self._waits.append(now - self._sent_at.get(fd, now))
        self._services.append(now - self._written_at.get(fd, now))
        self._ends.append(now)
        self._numbers.append(self._number.get(fd, 0))
        self._words.append(b"0 broken")
        self._partial.pop(fd, None)

    def _report(self, start: float, end: float, cpu_s: float, unsent: int) -> Report:
        job, skip = self._job, self._job.warm_up
        began = self._ends[skip - 1] if skip else start
        waits = [1000 * wait for wait in self._waits[skip:]]
        kinds: list[list[float]] = [[] for _ in range(job.kinds)]
        by_code: dict[str, list[float]] = {}
        since_sent: dict[str, list[float]] = {}
        rows = zip(self._numbers[skip:], waits, self._services[skip:], self._words[skip:], strict=True)
        for number, wait, service, word in rows:
            kinds[number % job.kinds].append(wait)
            by_code.setdefault(word.decode(), []).append(wait)
            since_sent.setdefault(word.decode(), []).append(1000 * service)
        finished = Counter(int((at - start) / SAMPLE_S) for at in self._ends)
        seconds = end - began
        return Report(
            seconds=seconds,
            answered=len(waits),
            per_second=len(waits) / seconds,
            codes={word: len(found) for word, found in by_code.items()},
            retry_after=self._retry_after,
            lost=self._lost,
            unsent=unsent,
            kinds=[side(found) for found in kinds],
            by_code={word: side(found) for word, found in by_code.items()},
            since_sent={word: side(found) for word, found in since_sent.items()},
            finished=[finished[number] for number in range(max(finished, default=0) + 1)],
            cpu_s=cpu_s,
        )


def _length(data: bytes) -> int:
    """Of the body; a 204 has none. Our servers write the header's name in lower case, others do not."""
    found = max(data.find(b"content-length: "), data.find(b"Content-Length: "))
    return int(data[found + 16 : data.index(b"\r", found)]) if found >= 0 else 0


def main() -> None:
    size = int.from_bytes(sys.stdin.buffer.read(8))
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(size), type=Job)
    generator = Generator(job)
    generator.connect()
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    sys.stdin.buffer.readline()
    sys.stdout.buffer.write(msgspec.msgpack.encode(generator.run()))


if __name__ == "__main__":
    main()
