"""Who sends what: users' tokens, the requests of each verb, and what a phone does after an answer."""

import time
from collections.abc import Callable
from typing import TypeVar

import jwt
import msgspec

from clock.load.job import Job, Users

PREPARED = 200_000
"""So many tokens are made before the start, and kept."""

TOKEN_SECONDS = 7 * 86_400

POSTS = {
    "summary": "/api/summary",
    "status": "/api/check-in/status",
    "join": "/api/join",
    "check-in": "/api/check-in",
    "claim": "/api/claim",
    "day": "/api/summary",
    "pay": "/dev/pay",
}
GETS = {"guest": "/api/summary", "me": "/api/me"}

BOUND_FOR_MONEY = {"ordered", "order_pending"}


T = TypeVar("T", bound=msgspec.Struct)


class BadKey(ValueError):
    """The message says what is wrong with the secret, the key or the file of tokens, for a person."""


NOT_OURS = "-"
"""Stands for the code of an answer that is not this service's: of something before it, perhaps."""


class Reply(msgspec.Struct):
    """As much of an answer as matters here."""

    code: str = NOT_OURS
    data: msgspec.Raw = msgspec.Raw(b"{}")


class Assign(msgspec.Struct):
    total: int = 0


class Data(msgspec.Struct):
    """What join and claim say. Money in fen."""

    amount: int = 0
    order_no: str = ""
    assign: Assign | None = None


class Window(msgspec.Struct):
    check_in_opens_ms: int = 0
    check_in_closes_ms: int = 0


class Yesterday(msgspec.Struct):
    clock_status: int = 0
    red_status: int = 0
    state: str = ""

    @property
    def has_packet(self) -> bool:
        """One that was not claimed yet."""
        return self.state == "settled" and self.clock_status == 2 and self.red_status == 1


class Home(msgspec.Struct):
    clock_status: int = 0
    is_start: int = 0
    server_time: int = 0
    rules: Window = msgspec.field(default_factory=Window)
    yesterday: Yesterday | None = None


class Shown(msgspec.Struct):
    summary: Home = msgspec.field(default_factory=Home)


def signer(users: Users) -> Callable[[int], str]:
    """Makes a user's token. Raises :class:`BadKey`."""
    key, algorithm = (users.secret, "HS256") if users.secret else _private(users.private_key)
    expires_s = int(time.time()) + TOKEN_SECONDS

    def sign(uid: int) -> str:
        claims = {"sub": str(uid), "role": "user", "exp": expires_s}
        return jwt.encode(claims, key, algorithm=algorithm)  # type: ignore[arg-type]

    return sign


def _private(pem: str) -> tuple[object, str]:
    """The key, and the algorithm that it fits: RS256, ES256 or EdDSA, as the service takes them."""
    for name in ("RS256", "ES256", "EdDSA"):
        try:
            key = jwt.get_algorithm_by_name(name).prepare_key(pem)
        except (ValueError, TypeError, jwt.PyJWTError):
            continue
        if hasattr(key, "sign"):
            return key, name
    raise BadKey("the key is not a private key (PEM) for RS256, ES256 or EdDSA")


def tokens_in(text: str, where: str) -> list[tuple[int, str]]:
    """Lines ``uid token``. Raises :class:`BadKey`."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if len(words) != 2 or not (words[0].isascii() and words[0].isdigit() and 0 < int(words[0]) < 1 << 53):
            raise BadKey(f"{where}, line {number}: must be a uid and a token, with a blank between them")
        if not (words[1].isascii() and words[1].isprintable()):
            raise BadKey(f"{where}, line {number}: a token has only ASCII characters")
        found.append((int(words[0]), words[1]))
    if not found:
        raise BadKey(f"{where} has no line: uid token")
    return found


class Players:
    """The users of one part of a job."""

    def __init__(self, job: Job, host: str, prefix: str) -> None:
        users = job.users
        self._given = dict(users.tokens)
        self._uids = list(self._given) or range(users.first, users.first + users.count)
        self._uids = self._uids[job.part :: job.parts]
        self._sign = None if self._given else signer(users) if users.secret or users.private_key else None
        self._kept: dict[int, str] = {}
        self._tail = f"\r\nHost: {host}\r\nUser-Agent: clock-load\r\n" + ("Connection: close\r\n" if job.cold else "")
        self._prefix = prefix
        self._verb = job.verb
        self._pays = job.pays

    def prepare(self) -> None:
        """Make tokens before the start, so that making them delays nobody."""
        if self._sign and self._verb != "guest":
            for uid in self._uids[:PREPARED]:
                self._kept[uid] = self._sign(uid)

    def uid(self, number: int) -> int:
        return self._uids[number % len(self._uids)]

    def request(self, verb: str, uid: int, order_no: str = "") -> bytes:
        if verb == "guest":
            return f"GET {self._prefix}/api/summary HTTP/1.1{self._tail}\r\n".encode()
        bearer = f"Authorization: Bearer {self._token(uid)}\r\n"
        if verb in GETS:
            return f"GET {self._prefix}{GETS[verb]} HTTP/1.1{self._tail}{bearer}\r\n".encode()
        if verb == "join":
            extra = f'{{"mobile":"138{uid % 10**8:08}","nickname":"load {uid}","openId":"open-{uid}"}}'
            body = f'{{"uid":{uid},"extra":{extra}}}'
        else:
            body = f'{{"order_no":"{order_no}"}}' if verb == "pay" else f'{{"uid":{uid}}}'
        head = f"POST {self._prefix}{POSTS[verb]} HTTP/1.1{self._tail}{bearer}Content-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def _token(self, uid: int) -> str:
        token = self._given.get(uid) or self._kept.get(uid)
        if token is None:
            assert self._sign
            token = self._sign(uid)
            if len(self._kept) < PREPARED:
                self._kept[uid] = token
        return token

    def next_of(self, verb: str, uid: int, reply: Reply) -> list[tuple[str, bytes]]:
        """Verb and request of what the phone does next, having this answer."""
        if verb == "join" and self._pays and reply.code in BOUND_FOR_MONEY:
            return [("pay", self.request("pay", uid, data_of(reply).order_no))]
        if verb != "day" or reply.code != "ok":
            return []
        home = _as(Shown, reply).summary
        verbs = []
        if home.yesterday is not None and home.yesterday.has_packet:
            verbs.append("claim")
        opens_ms, closes_ms = home.rules.check_in_opens_ms, home.rules.check_in_closes_ms
        if home.clock_status == 1 and opens_ms <= home.server_time < closes_ms:
            verbs.append("check-in")
        if home.clock_status == 0 and home.is_start:
            verbs.append("join")
        return [(verb, self.request(verb, uid)) for verb in verbs]


def data_of(reply: Reply) -> Data:
    return _as(Data, reply)


def _as(kind: type[T], reply: Reply) -> T:
    """An answer's data; empty where it is not what this service says."""
    try:
        return msgspec.json.decode(reply.data, type=kind)
    except msgspec.DecodeError:
        return kind()
