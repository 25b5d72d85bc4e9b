"""HTTP/1.1 by uvicorn. Plain requests of the lean lane are answered by the protocol itself, without ASGI in between.

A request is plain if it is for a path of the lane and has no query, is a GET without a body or a POST with a
``content-length``, on a connection that stays open and has no other request in progress. All other requests go through
uvicorn and Litestar to the same verbs (docs/decisions/0020).
"""

import asyncio
import logging
import re
import signal
import sys
from functools import lru_cache
from time import monotonic
from typing import Any

import uvicorn
from httptools import HttpParserInvalidMethodError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from clock.descriptors import clients
from clock.domain.outcomes import OUTCOMES, RETRY_AFTER_SECONDS, Answer, envelope
from clock.http.lane import MAX_BODY, Call, LeanPath, inside

BACKLOG = 16_384
MAX_HEAD = 64 * 1024
"""Limit of a request's line and headers in bytes, give or take one read."""
IDLE_SECONDS = 75
"""A connection without a request is closed after this time."""
REQUEST_SECONDS = 30
"""Timeout from a request's first byte to its last."""
STOP_SECONDS = 10
"""How long a process that is stopping waits for open requests."""

REFUSE_SECONDS = 0.03
"""Refusals are sent together, this long after the first. A client that is refused at once retries at once, and its
refusals take the time of the requests that were let in (docs/decisions/0027)."""

UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
METHODS = {b"GET": "GET", b"POST": "POST"}

BETWEEN, IN_HEAD, IN_BODY = range(3)
"""The part of a request that comes next on a connection."""


class _NobodyWaits:
    """Replaces the event by which uvicorn wakes an application that waits for its body; a turn starts with its body."""

    def set(self) -> None:
        pass


class Turn:
    """A plain request in progress. For uvicorn's protocol it takes the place of a call of the ASGI application."""

    __slots__ = ("body", "call", "disconnected", "keep_alive", "method", "more_body", "path", "response_complete")

    message_event = _NobodyWaits()

    def __init__(self, path: LeanPath, method: str, headers: dict[bytes, bytes]) -> None:
        self.path = path
        self.method = method
        self.call = Call(monotonic(), headers, b"")
        self.body = bytearray()
        self.more_body = self.keep_alive = True
        self.response_complete = self.disconnected = False


@lru_cache(maxsize=512)
def _head(word: str, date: bytes) -> bytes:
    """An answer's head up to the number after ``content-length``."""
    lines = [STATUS_LINE[OUTCOMES[word].http], b"date: %b\r\ncontent-type: application/json\r\n" % date]
    if word in RETRY_AFTER_SECONDS:
        lines.append(b"retry-after: %d\r\n" % RETRY_AFTER_SECONDS[word])
    if word == "method_not_allowed":
        lines.append(b"allow: GET, POST, PUT, DELETE\r\n")
    return b"".join([*lines, b"content-length: "])


def _field(head: bytes, name: bytes) -> bytes:
    """The value of a header, or nothing; ``head`` and ``name`` are in lower case."""
    return head.partition(b"\r\n%b:" % name)[2].partition(b"\r")[0].strip()


def _without_upgrade(data: bytes) -> bytes:
    """Disable the offer of another protocol, after which the parser would not parse the body. Java's client offers
    HTTP/2 with each first request (RFC 9110, 7.8: an offer may be ignored)."""
    head, end, rest = data.partition(b"\r\n\r\n")
    return UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lean: dict[bytes, LeanPath] = getattr(self.app, "lean", {})
        self._part = BETWEEN
        self._head_size = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._idle_check: asyncio.TimerHandle | None = None

    # -- reading, and its timeouts

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        clients.open += 1
        if clients.open > clients.most:  # the remaining descriptors are reserved for Redis and Postgres
            self._say("busy", envelope(Answer("busy"), "", "zh"), keep_alive=False)
            return
        self._idle_since = monotonic()
        self._idle_check = self.loop.call_later(IDLE_SECONDS, self._check_idle)

    def data_received(self, data: bytes) -> None:
        if inside.is_full() and self._turned_away(data):
            return
        if b"pgrade" in data and self._part != IN_BODY:
            data = _without_upgrade(data)
        super().data_received(data)
        if self._part == BETWEEN:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            return
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.timeout_keep_alive_handler)
        if self._part == IN_HEAD:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self.send_400_response("")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        clients.open -= 1
        for timer in (self._deadline, self._idle_check):
            if timer is not None:
                timer.cancel()

    def _check_idle(self) -> None:
        """One timer per connection; uvicorn sets one with each answer, which costs more (docs/decisions/0020)."""
        at_work = self._part != BETWEEN or not (self.cycle is None or self.cycle.response_complete)
        left = IDLE_SECONDS if at_work else self._idle_since + IDLE_SECONDS - monotonic()
        if left > 0:
            self._idle_check = self.loop.call_later(left, self._check_idle)
        else:
            self.timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP, and unknown methods, in the envelope as well."""
        unknown_method = isinstance(sys.exception(), HttpParserInvalidMethodError)
        word = "method_not_allowed" if unknown_method else "bad_request"
        if not self.transport.is_closing():
            self._say(word, envelope(Answer(word), "", "zh"), keep_alive=False)

    # -- requests

    def _turned_away(self, data: bytes) -> bool:
        """Whether ``data`` was exactly one request of the lane, which is then refused without being parsed. Under
        overload the cost of refusals reduces the throughput (docs/decisions/0027)."""
        if self._part != BETWEEN or self.flow.write_paused or not (self.cycle is None or self.cycle.response_complete):
            return False
        head, _, body = data.partition(b"\r\n\r\n")
        path = self._lean.get(head[5 : head.find(b" ", 5)])
        head = head.lower()
        if path is None or not head.startswith(b"post ") or b"\r\ntransfer-encoding:" in head:
            return False
        if head.count(b"content-length:") != 1 or _field(head, b"content-length") != b"%d" % len(body):
            return False
        self._unset_keepalive_if_required()
        turn = Turn(path, "POST", {b"accept-language": _field(head, b"accept-language")})
        self.cycle = turn  # type: ignore[assignment]
        self._refuse(turn)
        return True

    def _refuse(self, turn: Turn) -> None:
        if not _refused:
            self.loop.call_later(REFUSE_SECONDS, _say_busy)
        _refused.append((self, turn))

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._part, self._head_size = IN_HEAD, 0

    def on_headers_complete(self) -> None:
        self._part = IN_BODY
        path = self._lean.get(self.url)
        turn = self._turn(path) if path else None
        if turn is None:
            self._call_the_application()
        else:
            self.cycle = turn  # type: ignore[assignment]

    def _call_the_application(self) -> None:
        """Continue as uvicorn does from the beginning of the message, where it makes the ASGI scope."""
        url, headers, waits_for_100 = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, waits_for_100
        self.headers += headers
        super().on_headers_complete()

    def _turn(self, path: LeanPath) -> Turn | None:
        """The request whose head has been read, if it is a plain one."""
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        parser = self.parser
        method = METHODS.get(parser.get_method(), "")
        if method not in path.endpoints or self.expect_100_continue or self.flow.write_paused:
            return None
        if parser.get_http_version() != "1.1" or not parser.should_keep_alive() or parser.should_upgrade():
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if b"transfer-encoding" in headers:
            return None
        if length:
            plain = method == "POST" and length.isdigit() and len(length) < 6 and int(length) <= MAX_BODY
        else:
            plain = method == "GET"
        return Turn(path, method, headers) if plain else None

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._part = BETWEEN
        turn: Any = self.cycle
        if type(turn) is not Turn:
            return
        if inside.let_in():
            turn.call.raw = bytes(turn.body)
            self.loop.create_task(self._work(turn))
        else:
            self._refuse(turn)

    async def _work(self, turn: Turn) -> None:
        word, body = await turn.path.reply(turn.method, turn.call)
        if self.flow.write_paused:
            await self.flow.drain()
        self.answered(turn, word, body)

    def answered(self, turn: Turn, word: str, body: bytes) -> None:
        turn.response_complete = True
        if not self.transport.is_closing():
            self._say(word, body, turn.keep_alive)
        if self.pipeline:
            self.on_response_complete()
        else:
            self._idle_since = monotonic()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._idle_since = monotonic()

    def _say(self, word: str, body: bytes, keep_alive: bool) -> None:
        date = self.server_state.default_headers[0][1]
        end = b"\r\n\r\n" if keep_alive else b"\r\nconnection: close\r\n\r\n"
        self.transport.write(b"%b%d%b%b" % (_head(word, date), len(body), end, body))
        if not keep_alive:
            self.transport.close()


_refused: list[tuple[Protocol, Turn]] = []
"""Requests of this process that wait to be refused together."""


def _say_busy() -> None:
    refused = _refused.copy()
    _refused.clear()
    for protocol, turn in refused:
        protocol.answered(turn, *turn.path.busy(turn.call))


OPTIONS: dict[str, Any] = {
    "interface": "asgi3",
    "http": Protocol,
    "ws": "none",
    "loop": "uvloop",
    "lifespan": "on",
    "backlog": BACKLOG,
    "timeout_keep_alive": IDLE_SECONDS,
    "timeout_graceful_shutdown": STOP_SECONDS,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
    "log_config": None,
}
"""Arguments of :class:`uvicorn.Config` besides application, address and number of processes."""


def serve(factory: str, host: str, port: int, workers: int) -> None:
    """Serve the application that ``module:function`` makes until a signal. A process that dies is replaced."""
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)  # of the parent process, which logs the others' exits
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises the signal again after a clean stop
    uvicorn.run(factory, factory=True, host=host, port=port, workers=workers, **OPTIONS)
