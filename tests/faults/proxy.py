"""Proxies between the service and its servers, which lose what they are told to lose.

A fault is armed for a *call*: a script by its verb, a Redis command by its name (``xrange``), or Postgres'
``commit``. The next such call is hit, wherever it comes from.
"""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from clock.game.scripts import load

VERBS = ("join", "pay", "check_in", "claim", "status", "order", "profile", "quarantine", "drained")
STEPS = ("open", "close", "publish", "settle", "finish")

VERB_OF_SHA = {load(verb).sha.encode(): verb for verb in VERBS + STEPS}

ERRORS = (
    b"-MISCONF Valkey is configured to save RDB snapshots, but it's unable to persist to disk.\r\n",
    b"-MISCONF Errors writing to the AOF file: No space left on device\r\n",
    b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    b"-READONLY You can't write against a read only replica.\r\n",
    b"-LOADING Valkey is loading the dataset in memory\r\n",
)


class Armed:
    """What is to happen to which call, each once; shared by the proxies."""

    def __init__(self) -> None:
        self.lose_reply: Counter[str] = Counter()
        """The request is delivered, its reply swallowed, and the connection cut."""
        self.lose_request: Counter[str] = Counter()
        """The connection is cut before the request is delivered."""
        self.refuse: Counter[str] = Counter()
        """The request is not delivered, and answered with one of :data:`ERRORS`."""
        self.hits: Counter[str] = Counter()

    def take(self, armed: Counter[str], call: str, kind: str) -> bool:
        if armed[call] <= 0:
            return False
        armed[call] -= 1
        self.hits[f"{kind} {call}"] += 1
        return True

    def clear(self) -> None:
        for armed in (self.lose_reply, self.lose_request, self.refuse):
            armed.clear()


def name_of(words: list[bytes]) -> str:
    """The call that a Redis command is: a script's verb, or the command's own name."""
    command = words[0].lower().decode("latin-1")
    if command == "evalsha":
        return VERB_OF_SHA.get(words[1].lower(), command)
    if command == "eval":
        return VERB_OF_SHA.get(hashlib.sha1(words[1]).hexdigest().encode(), command)
    return command


async def read_command(reader: asyncio.StreamReader) -> tuple[list[bytes], bytes]:
    """One command of the Redis protocol (RESP): its words, and its bytes as they came."""
    head = await reader.readuntil(b"\r\n")
    raw, words = [head], []
    for _ in range(int(head[1:])):
        length = await reader.readuntil(b"\r\n")
        word = await reader.readexactly(int(length[1:]) + 2)
        raw += [length, word]
        words.append(word[:-2])
    return words, b"".join(raw)


class Proxy:
    """Passes connections on to ``to_port``. ``start`` once; ``cut`` drops every connection that is open; ``swallow``
    lets none of them drop."""

    def __init__(self, armed: Armed, to_port: int, chance: random.Random) -> None:
        self.armed = armed
        self.port = 0
        self.to_port = to_port
        self._chance = chance
        self._server: asyncio.Server | None = None
        self._swallows = False
        self._open: set[asyncio.StreamWriter] = set()
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**22)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> int:
        """How many connections were dropped."""
        count = len(self._open) // 2
        abort(self._open)
        return count

    async def swallow(self, seconds: float) -> None:
        """A network that is cut without a word: whatever is sent for so long vanishes, also on new connections, and
        those connections stay dead."""
        self._swallows = True
        for link in self._links:
            link.is_dead = True
        await asyncio.sleep(seconds)
        self._swallows = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, to_there = await asyncio.open_connection("127.0.0.1", self.to_port, limit=2**22)
        except OSError:
            abort([writer])
            self._tasks.discard(task)
            return
        pair = (writer, to_there)
        self._open.update(pair)
        link = Link(reader, writer, there, to_there)
        link.is_dead = self._swallows
        self._links.add(link)
        answers = asyncio.create_task(link.pass_answers())
        try:
            with suppress(OSError, EOFError, asyncio.LimitOverrunError, ValueError):
                await self._pass_requests(link)
        finally:
            abort(pair)
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            self._open.difference_update(pair)
            self._links.discard(link)
            self._tasks.discard(task)

    async def _pass_requests(self, link: "Link") -> None:
        raise NotImplementedError


class Link:
    """One connection through a proxy: from *here*, the service, to *there*, the server."""

    def __init__(
        self,
        here: asyncio.StreamReader,
        to_here: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        to_there: asyncio.StreamWriter,
    ) -> None:
        self.here, self.to_here, self.there, self.to_there = here, to_here, there, to_there
        self.swallows = False
        """The next answer is lost, and the connection with it."""
        self.is_dead = False
        """Nothing gets through any more, and nobody is told."""

    async def pass_answers(self) -> None:
        with suppress(OSError):
            while data := await self.there.read(65_536):
                if self.swallows:
                    break
                if self.is_dead:
                    continue
                self.to_here.write(data)
                await self.to_here.drain()
        abort([self.to_here, self.to_there])

    async def deliver(self, raw: bytes) -> None:
        if not self.is_dead:
            self.to_there.write(raw)
            await self.to_there.drain()


class RedisProxy(Proxy):
    async def _pass_requests(self, link: Link) -> None:
        while True:
            words, raw = await read_command(link.here)
            call, armed = name_of(words), self.armed
            if armed.take(armed.lose_request, call, "request lost:"):
                return
            if armed.take(armed.refuse, call, "refused:"):
                link.to_here.write(self._chance.choice(ERRORS))
                await link.to_here.drain()
                continue
            link.swallows = armed.take(armed.lose_reply, call, "reply lost:")
            await link.deliver(raw)


class PostgresProxy(Proxy):
    """Knows only ``COMMIT``: in libpq's simple and extended protocols it stands in the request as it is."""

    async def _pass_requests(self, link: Link) -> None:
        while data := await link.here.read(65_536):
            armed = self.armed
            if b"COMMIT\0" in data:
                if armed.take(armed.lose_request, "commit", "request lost:"):
                    return
                link.swallows = armed.take(armed.lose_reply, "commit", "reply lost:")
            await link.deliver(data)


def abort(writers: Iterable[asyncio.StreamWriter]) -> None:
    for writer in list(writers):
        writer.transport.abort()
