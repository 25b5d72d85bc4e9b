"""HTTP/1.1 by uvicorn, with bounds on what a stranger can make a process keep, and RFC 9110 and 9112 where uvicorn is
lax (docs/decisions/0043).

Only the parser's events decide: bytes are never looked at before it. What cannot be read on is refused in its turn,
after the answers to the requests before it.
"""

import asyncio
from functools import lru_cache
from time import monotonic
from typing import Any

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from clock import metrics
from clock.descriptors import clients
from clock.domain.outcomes import Answer, envelope
from clock.http.forms import ANY_METHOD, ENVELOPE, Form, length_line

MAX_HEAD = 64 * 1024
"""Limit of a request's line and headers in bytes, give or take one read."""
MOST_READ = 4 * 1024 * 1024
"""A body that is too large is read up to this size, so that the refusal arrives and the connection stays."""
MOST_PIPELINED = 64
"""Requests on one connection that wait for the answer to one before them."""
IDLE_SECONDS = 75
"""A connection without a request is closed after this time."""
REQUEST_SECONDS = 30
"""Timeout from a request's first byte to its last."""
WATCH_SECONDS = 15
"""How often a connection is looked at: one that takes less than :data:`LEAST_READ` of its answer meanwhile is cut."""
LEAST_READ = 1024
CROWDED = 0.8
"""A process that has more than this part of its connections closes them when idle for :data:`WATCH_SECONDS`."""
STILL_SECONDS = 0.5
"""A process that stops closes a connection that was still for so long: a request may be under way on it."""
LINGER_SECONDS = 1
"""After the last answer, what the client still sends is dropped for so long: a reset would take the answer from it."""

BETWEEN, IN_HEAD, IN_BODY = range(3)
"""The part of a request that comes next on a connection."""

log = structlog.get_logger()


class Unacceptable(Exception):
    """Raised at the parser's events: the request is refused with the word, and nothing after it is read."""

    def __init__(self, word: str = "bad_request") -> None:
        super().__init__(word)
        self.word = word


@lru_cache(maxsize=512)
def _head(form: Form, word: str, date: bytes, size: int) -> bytes:
    """An answer's head, without its last line break."""
    status, lines = form.head(word, ANY_METHOD, 0)
    lines = [(b"date", date), *lines, *length_line(status, size)]
    return STATUS_LINE[status] + b"\r\n".join(b"%b: %b" % line for line in lines)


class Protocol(HttpToolsProtocol):
    """One connection. ``_running`` is the request that is being answered, ``cycle`` the last whose head was read.
    ``_begun``: whether a request has begun in what was read last; ``_again``: whether another one had before it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._part = BETWEEN
        self._begun = self._again = self._large = self._eof = self._ending = self._resumed = self._stopping = False
        self._head_size = self._body_size = self._unread = 0
        self._running: Any = None
        self._refusal = ""
        self._idle_since = 0.0
        self._deadline: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None

    # -- the connection's life

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        clients.open += 1
        if clients.open > clients.most:  # the remaining descriptors are reserved for Redis and Postgres
            self.say("busy", envelope(Answer("busy"), "", "zh"), keep_alive=False)
            transport.close()
            return
        self._idle_since = monotonic()
        self._watching = self.loop.call_later(min(WATCH_SECONDS, IDLE_SECONDS), self._watch)

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        self._begun, self._large = False, len(data) + self._head_size > MAX_HEAD
        try:
            self._feed(data)
        except Unacceptable as error:
            self._fail(error.word)
        except httptools.HttpParserInvalidMethodError:
            self._fail("method_not_allowed")
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, Unacceptable):
                log.error("request_broke", exc_info=error.__context__)
            self._fail(getattr(error.__context__, "word", "bad_request"))
        except httptools.HttpParserError:
            self._fail("bad_request")
        else:
            self._bound(len(data))

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = self._declined() + data[offer.args[0] :]

    def _declined(self) -> bytes:
        """The head once more, without its offer of another protocol, for a new parser: this one stops after it. Java's
        client offers HTTP/2 with each first request (RFC 9110, 7.8: a server may ignore an offer)."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise Unacceptable("method_not_allowed")
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"\r\n".join([*lines, b"", b""])

    def _bound(self, size: int) -> None:
        """Bound the head's size, and the time to the request's end."""
        if self._part == IN_HEAD and not self._begun:
            self._head_size += size
            if self._head_size > MAX_HEAD:
                self._fail("bad_request")
                return
        if self._deadline is not None and (self._begun or self._part == BETWEEN):
            self._deadline.cancel()
            self._deadline = None
        if self._deadline is None and self._part != BETWEEN:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        if self.flow.read_paused:  # it is we who do not read on
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._too_slow)
        else:
            self._fail("")

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that has sent all it wants to say gets the answers to it."""
        self._eof = True
        if self._part != BETWEEN:
            self._fail("")
        return self._at_work()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)
        clients.open -= 1
        for timer in (self._deadline, self._watching):
            if timer is not None:
                timer.cancel()

    def resume_writing(self) -> None:
        self._resumed = True
        super().resume_writing()

    def shutdown(self) -> None:
        """The process stops. What comes now, because it was sent before anybody could know, is answered, too."""
        self._stopping = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        self.loop.call_later(STILL_SECONDS, self._close_when_still)

    def _close_when_still(self) -> None:
        if self._part == BETWEEN and not self._at_work():
            self.transport.close()
        elif not self.transport.is_closing():
            self.loop.call_later(STILL_SECONDS, self._close_when_still)

    def _watch(self) -> None:
        """One timer a connection; uvicorn sets one with each answer, which costs more (docs/decisions/0020)."""
        unread = self.transport.get_write_buffer_size()
        if unread and self._unread and unread > self._unread - LEAST_READ and not self._resumed:
            self.transport.abort()
            return
        self._unread, self._resumed = unread, False
        limit = IDLE_SECONDS if clients.open < CROWDED * clients.most else WATCH_SECONDS
        left = limit if unread or self._part != BETWEEN or self._at_work() else self._idle_since + limit - monotonic()
        if left <= 0:
            self.transport.close()
        self._watching = self.loop.call_later(max(0.01, min(WATCH_SECONDS, left)), self._watch)

    # -- requests

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._again = self._begun
        self._begun, self._part, self._head_size, self._body_size = True, IN_HEAD, 0, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._part == IN_HEAD:  # not a trailer: whoever reads headers now has checked them already
            self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            self.begin()
            self._part = IN_BODY

    def begin(self) -> None:
        """Hand the request to the application, as uvicorn does from the beginning of the message."""
        self._check_head()
        url, headers, waits_for_100 = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, waits_for_100
        self.headers += headers
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

    def _check_head(self) -> None:
        """Raises :class:`Unacceptable`. One Host (RFC 9112, 3.2), a body that we can read, bounds."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in self.headers:
            found.setdefault(name, []).append(value)
        modern = self.parser.get_http_version() != "1.0"
        if len(found.get(b"host", [])) not in ((1,) if modern else (0, 1)):
            raise Unacceptable
        if any(coding.lower() != b"chunked" for coding in found.get(b"transfer-encoding", [])):
            raise Unacceptable
        if self._large and len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            raise Unacceptable
        if not self.url.startswith(b"/"):
            self._check_absolute()
        if int(found.get(b"content-length", [b"0"])[0]) > MOST_READ:
            raise Unacceptable("too_large")
        if len(self.pipeline) >= MOST_PIPELINED:
            raise Unacceptable("slow_down")
        self.expect_100_continue = modern and found.get(b"expect", [b""])[0].lower() == b"100-continue"

    def _check_absolute(self) -> None:
        """``GET http://host/path`` is the same as ``GET /path`` (RFC 9112, 3.2.2); other forms are none of ours."""
        try:
            target = httptools.parse_url(self.url)
        except httptools.HttpParserError:
            raise Unacceptable from None
        if target.schema not in (b"http", b"https") or target.path is None:
            raise Unacceptable

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > MOST_READ:
            raise Unacceptable("too_large")
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()
            self._part = BETWEEN

    # -- answers

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _at_work(self) -> bool:
        running = self._running
        return running is not None and not running.response_complete and not running.disconnected

    def on_response_complete(self) -> None:
        self._idle_since = monotonic()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._ending:
            self._refuse()
        elif self._eof:
            self.transport.close()

    def _fail(self, word: str) -> None:
        """End the connection after the answers that are due, with a refusal if there is a word."""
        self._ending, self._refusal = True, word
        if self._deadline is not None:
            self._deadline.cancel()
        if self._part == IN_BODY:  # of a request that is refused by this
            if self.cycle.response_complete:
                self._refusal = ""
            elif self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        self._part = BETWEEN
        if not self._at_work():
            self._refuse()

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        if self._refusal:
            metrics.answered("other", self._refusal, 0.0)
            self.say(self._refusal, envelope(Answer(self._refusal), "", "zh"), keep_alive=False)
        if self._eof or not self._refusal:
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def say(self, word: str, body: bytes, keep_alive: bool, more: bytes = b"", form: Form = ENVELOPE) -> None:
        """Write a whole answer. ``more``: header lines, each after a line break."""
        date = self.server_state.default_headers[0][1]
        end = b"\r\n\r\n" if keep_alive else b"\r\nconnection: close\r\n\r\n"
        self.transport.write(b"".join((_head(form, word, date, len(body)), more, end, body)))
