"""The service that is tested: whether it is one, whether money could move there, what day it is."""

import http.client
import socket
import ssl
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from clock.load.connection import tls
from clock.load.job import MOVES_MONEY

ANSWER_SECONDS = 15.0
DAY_MS = 86_400_000


class BadTarget(Exception):
    """The message says why nothing can be sent to it, for a person."""


class Envelope(msgspec.Struct):
    code: str
    data: dict[str, Any] = {}


class Target:
    """``address``: where its host answered. ``is_dev``: it has the paths of development. ``day_zero`` began at
    ``day_zero_ms`` there, by its own clock, which is ``ahead_s`` before ours."""

    address: tuple[str, int]
    is_dev = False
    ahead_s = 0.0
    day_zero = date.min
    day_zero_ms = 0

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise BadTarget(f"{url} is not the address of a service, as https://clock.example.org")
        if parts.username or parts.password:
            raise BadTarget("the address must have no user and no password in it")
        self.url = url.rstrip("/")
        self._prefix = parts.path.rstrip("/")
        try:
            self.port = parts.port or (443 if parts.scheme == "https" else 80)
            self.ca_pem = ca_file.read_text("ascii") if ca_file else ""
            self._context = tls(self.ca_pem) if parts.scheme == "https" else None
        except (ValueError, ssl.SSLError) as error:
            raise BadTarget(f"the port, or the file of authorities, cannot be read: {error}") from None
        self._host = parts.hostname
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, token: str = "") -> tuple[int, Envelope]:
        """Status and answer, whose code is ``-`` where it is none of this service. Raises :class:`BadTarget`."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        for attempt in range(2):
            try:
                self._connection = self._connection or self._connect()
                self._connection.request(method, self._prefix + path, headers=headers)
                reply = self._connection.getresponse()
                raw = reply.read()
                return reply.status, msgspec.json.decode(raw, type=Envelope)
            except msgspec.DecodeError:
                return reply.status, Envelope("-")
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if attempt:  # a connection that was kept may have been closed meanwhile
                    raise BadTarget(f"{self.url} does not answer: {error or type(error).__name__}") from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        if self._context:
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self.port, timeout=ANSWER_SECONDS, context=self._context
            )
        else:
            made = http.client.HTTPConnection(self._host, self.port, timeout=ANSWER_SECONDS)
        made.connect()
        assert isinstance(made.sock, socket.socket)
        self.address = made.sock.getpeername()[:2]
        return made

    def look(self) -> None:
        """Learn what it is, changing nothing. Raises :class:`BadTarget`."""
        status, home = self.ask("GET", "/api/summary")
        summary = home.data.get("summary")
        if status != 200 or not isinstance(summary, dict):
            raise BadTarget(f"{self.url}/api/summary was answered {status} {home.code}: nothing is sent to it")
        self.ahead_s = summary["server_time"] / 1000 - time.time()
        self.day_zero = date.fromisoformat(summary["round"])
        self.day_zero_ms = summary["rules"]["join_closes_ms"] - DAY_MS
        status, _ = self.ask("GET", "/dev/token")  # made by POST alone: 405 where the path exists
        self.is_dev = status == 405

    def today(self) -> date:
        now_ms = 1000 * (time.time() + self.ahead_s)
        return self.day_zero + timedelta(days=int((now_ms - self.day_zero_ms) // DAY_MS))


def refuse_real_money(target: Target, verb: str, pays: bool, told: tuple[bool, bool]) -> None:
    """Raises :class:`BadTarget` where money could move and nobody has said, twice, that it may. ``told``: whether each
    of the two options was given."""
    if target.is_dev:
        return
    if pays:
        raise BadTarget(f"{target.url} is not in development: it has no sandbox that pays; take --pay none")
    if verb in MOVES_MONEY and not all(told):
        raise BadTarget(
            f"{target.url} is not in development: {verb} could make orders, decide whose stake is lost, or pay out. "
            "If that is meant, say so twice: --not-development and --money-may-move"
        )
