"""The server: uvicorn with the ordinary protocol, or with the lean one, which answers plain requests itself.

A request is plain if it is a POST to a path of the lean lane with a ``content-length`` and no header twice, on a
connection that stays open and has no other request in progress, and the first of those that were read together: what
is refused is answered while they are read, a thousand of them in one turn of the event loop. All other requests go
through uvicorn and Litestar to the same verbs (docs/decisions/0020). ``CLOCK_PROTOCOL=ordinary`` sends all of them
there.
"""

import logging
import signal
import socket
import sys
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import structlog
import uvicorn
from uvicorn.supervisors import Multiprocess

from clock.config import Settings
from clock.domain.outcomes import Answer
from clock.game.verbs import Finish
from clock.http.lane import MAX_BODY, Call, LeanPath, inside
from clock.http.origins import allowed, shared
from clock.http.protocol import BETWEEN, IDLE_SECONDS, Protocol

log = structlog.get_logger()

BACKLOG = 16_384
STOP_SECONDS = 10
"""How long a process that is stopping waits for open requests."""

HUNG_SECONDS = 15
"""A process that has not answered its parent for so long is replaced. On a busy host it takes five to load."""

NO_HEADERS: dict[bytes, bytes] = {}

REFUSE_SECONDS = 0.03
"""Refusals are sent together, this long after the first. A client that is refused at once retries at once, and its
refusals take the time of the requests that were let in (docs/decisions/0027)."""


class _NobodyWaits:
    """Replaces the event by which uvicorn wakes an application that waits for its body; a turn starts with its body."""

    def set(self) -> None:
        pass


class Turn:
    """A plain request in progress. For uvicorn's protocol it takes the place of a call of the ASGI application, and for
    the batcher that of a future: a request that waits for one result of a script is this object and no more. A task
    and its coroutines are some kilobytes; with hundreds of them a processor's cache is too small (docs/decisions/0070).
    """

    __slots__ = (
        "_finish",
        "_more",
        "_path",
        "_protocol",
        "call",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
    )

    message_event = _NobodyWaits()

    def __init__(self, protocol: "LeanProtocol", path: LeanPath, headers: dict[bytes, bytes], more: bytes) -> None:
        """``more``: lines of the answer's head."""
        self._protocol = protocol
        self._path = path
        self._more = more
        self._finish: Finish | None = None
        self.call = Call(headers)
        self.more_body = self.keep_alive = True
        self.response_complete = self.disconnected = False

    def start(self) -> None:
        """Do what is asked. The caller has let the request in; its answer ends its stay :data:`inside`."""
        endpoint, call = self._path.endpoints["POST"], self.call
        try:
            request = endpoint.admit(call)
            if endpoint.at_once is not None:
                self._finish = endpoint.at_once(self, request, call.arrived)
        except Exception as error:  # noqa: BLE001 - everything is answered, in the envelope
            self.set_exception(error)
            return
        if self._finish is None:
            self._work_on(endpoint.run(request, call))
        else:
            call.headers, call.raw = NO_HEADERS, b""
            self._protocol.headers.clear()

    def _work_on(self, coming: Awaitable[Answer]) -> None:
        self._protocol.loop.create_task(self._wait_for(coming))

    async def _wait_for(self, coming: Awaitable[Answer]) -> None:
        try:
            said = self._path.said(await coming, self.call)
        except Exception as error:  # noqa: BLE001 - everything is answered, in the envelope
            self.set_exception(error)
        else:
            self._end(*said)

    def done(self) -> bool:
        return self.response_complete

    def set_result(self, result: Any) -> None:
        """What the batcher has for this request, or a batch of receipts after that."""
        assert self._finish is not None
        try:
            answer = self._finish(*result)
            if answer is None:
                return
            if not isinstance(answer, Answer):
                self._work_on(answer)
                return
            said = self._path.said(answer, self.call)
        except Exception as error:  # noqa: BLE001 - everything is answered, in the envelope
            self.set_exception(error)
        else:
            self._end(*said)

    def set_exception(self, error: Exception) -> None:
        self._end(*self._path.refused(error, self.call))

    def _end(self, word: str, body: bytes) -> None:
        inside.count -= 1
        self._finish = None  # a connection keeps its last turn
        try:
            self.say(word, body)
        except Exception as error:
            log.error("answer_broke", exc_info=error)
            self._protocol.transport.abort()

    def busy(self) -> None:
        """Refuse the request, which was not let in."""
        self.say(*self._path.busy(self.call))

    def say(self, word: str, body: bytes) -> None:
        protocol = self._protocol
        self.response_complete = True
        if not protocol.transport.is_closing():
            protocol.say(word, body, self.keep_alive, self._more, self._path.form)
            if not self.keep_alive:  # the process stops
                protocol.transport.close()
        protocol.on_response_complete()


class LeanProtocol(Protocol):
    """One connection, whose plain requests need no ASGI scope, messages and task of uvicorn's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lean: dict[bytes, LeanPath] = getattr(self.app, "lean", {})
        self._origins: frozenset[bytes] = getattr(self.app, "origins", frozenset())

    def begin(self) -> None:
        path = self._lean.get(self.url)
        turn = self._turn(path) if path else None
        if turn is None:
            super().begin()
        else:
            self.cycle = turn  # type: ignore[assignment]

    def _turn(self, path: LeanPath) -> Turn | None:
        """The request whose head has been read, if it is a plain one."""
        parser, headers = self.parser, dict(self.headers)
        length = headers.get(b"content-length", b"")
        if self._at_work() or self._again or self.flow.write_paused or self._large or self._stopping:
            return None
        if parser.get_method() != b"POST" or "POST" not in path.endpoints:
            return None
        if parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return None
        if len(headers) != len(self.headers) or b"host" not in headers or b"expect" in headers:
            return None
        if b"transfer-encoding" in headers or not length or len(length) > 5 or int(length) > MAX_BODY:
            return None
        more = shared(allowed(headers, self._origins)) if self._origins else b""
        return Turn(self, path, headers, more)

    def on_body(self, body: bytes) -> None:
        turn: Any = self.cycle
        if type(turn) is Turn:
            turn.call.raw += body  # bounded by its content-length
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        turn: Any = self.cycle
        if type(turn) is not Turn or self.parser.should_upgrade():
            super().on_message_complete()
            return
        self._part, self._running = BETWEEN, turn
        if inside.let_in():
            turn.start()
            return
        if not _refused:
            self.loop.call_later(REFUSE_SECONDS, _say_busy)
        _refused.append(turn)


_refused: list[Turn] = []
"""Requests of this process that wait to be refused together."""


def _say_busy() -> None:
    refused = _refused.copy()
    _refused.clear()
    for turn in refused:
        turn.busy()


PROTOCOLS = {"lean": LeanProtocol, "ordinary": Protocol}


def options(settings: Settings) -> dict[str, Any]:
    """Arguments of :class:`uvicorn.Config` besides application, address and number of processes."""
    return {
        "interface": "asgi3",
        "http": PROTOCOLS[settings.protocol],
        "ws": "none",
        "loop": "uvloop",
        "lifespan": "on",
        "backlog": BACKLOG,
        "timeout_keep_alive": IDLE_SECONDS,
        "timeout_graceful_shutdown": STOP_SECONDS,
        "timeout_worker_healthcheck": HUNG_SECONDS,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # the application's edge reads them
        "log_config": None,
    }


class _Processes(Multiprocess):
    """They listen at one socket, which is also their parent's, and so would take connections until all have ended."""

    def terminate_all(self) -> None:
        for listening in self.sockets:
            with suppress(OSError):  # only Linux knows how to end it for all of them
                listening.shutdown(socket.SHUT_RD)
        super().terminate_all()


def serve(factory: str, settings: Settings, port: int) -> None:
    """Serve the application that ``module:function`` makes until a signal. A process that dies is replaced."""
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)  # of the parent process, which logs the others' exits
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises the signal again after a clean stop
    how = {"factory": True, "host": settings.host, "port": port, "workers": settings.api_workers, **options(settings)}
    if settings.api_workers == 1:
        uvicorn.run(factory, **how)
    else:
        config = uvicorn.Config(factory, **how)
        _Processes(config, [config.bind_socket()]).run()
