"""Who calls: bearer tokens, verified once and remembered until they expire. Always by the real clock.

PyJWT decides; :mod:`clock.hs256` is a fast path for valid HS256 tokens whose header PyJWT has accepted before.
"""

import re
import time

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from clock.config import BadSetting, Settings
from clock.hs256 import NOT_BEFORE_LEEWAY_S, RIGHTS, ROLES, FastPath, Right, Role, is_canonical

REMEMBERED = 200_000

NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,64}")
"""The ``sub`` of a service or an operator: text without control characters, which UTF-8 can encode."""


class Unauthenticated(Exception):
    """No token, or one that is not good."""


class Caller(msgspec.Struct, frozen=True, gc=False):
    uid: int
    """0 if ``sub`` is the name of a service or an operator."""
    role: Role
    expires_s: float
    name: str
    """``sub``: names the caller in the records of what was done."""
    scopes: frozenset[Right] = frozenset()
    """An operator's rights."""

    def may_act_for(self, uid: int) -> bool:
        return self.uid == uid or self.role == "service"


class Tokens:
    def __init__(self, settings: Settings) -> None:
        self._keys: list[tuple[str | PublicKeyTypes, list[str]]] = []
        self._secret = settings.jwt_secret
        if settings.jwt_secret:
            self._keys.append((settings.jwt_secret, ["HS256"]))
        if settings.jwt_public_key:
            self._keys.append((_public_key(settings.jwt_public_key), ["RS256", "ES256", "EdDSA"]))
        self._fast = FastPath(settings.jwt_secret)
        self._known: dict[bytes, Caller] = {}

    def caller(self, authorization: bytes) -> Caller:
        """The caller of an ``Authorization`` header; raises :class:`Unauthenticated`."""
        known = self._known.get(authorization)
        if known is not None:
            if known.expires_s > time.time():
                return known
            del self._known[authorization]
            raise Unauthenticated("the token has expired")
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            raise Unauthenticated("a bearer token is required")
        token = token.strip()
        claims = self._fast.claims(token)
        caller = _caller(claims.sub, claims.role, claims.exp, claims.scope) if claims else self._verify(token)
        if authorization == b"Bearer " + token:  # one entry a token, however many blanks somebody puts before it
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[authorization] = caller
        return caller

    def _verify(self, token: bytes) -> Caller:
        if not is_canonical(token.rpartition(b".")[2]):
            raise Unauthenticated("the token is not valid")
        for key, algorithms in self._keys:
            try:
                claims = jwt.decode(
                    token,
                    key,  # type: ignore[arg-type]
                    algorithms=algorithms,
                    leeway=NOT_BEFORE_LEEWAY_S,
                    options={"require": ["exp", "sub"], "verify_aud": False, "verify_iat": False},
                )
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
                continue
            scope = claims.get("scope", msgspec.UNSET)
            caller = _caller(claims.get("sub"), claims.get("role", "user"), claims.get("exp"), scope)
            if caller.expires_s <= time.time():  # the leeway is for nbf alone
                raise Unauthenticated("the token has expired")
            if algorithms == ["HS256"]:
                self._fast.trust(token.partition(b".")[0])
            return caller
        raise Unauthenticated("the token is not valid")

    def issue(self, sub: int | str, role: Role = "user", seconds: int = 86_400, scope: str | None = None) -> str:
        """A token signed with ``CLOCK_JWT_SECRET``; raises :class:`BadSetting` without one. ``sub``: a uid, or the name
        of a service or an operator. ``scope``: an operator's rights, separated by spaces; None: all of them."""
        if not self._secret:
            raise BadSetting("CLOCK_JWT_SECRET is needed to issue a token")
        claims = {"sub": str(sub), "role": role, "exp": int(time.time()) + seconds}
        if scope is not None:
            claims["scope"] = scope
        return jwt.encode(claims, self._secret, algorithm="HS256")


def _caller(sub: object, role: object, expires: object, scope: object) -> Caller:
    if role not in ROLES:
        raise Unauthenticated("the token's role is unknown")
    if not isinstance(expires, int | float) or not 0 < expires < 1 << 53:
        raise Unauthenticated("the token's exp is not a time")
    uid = _uid(sub)
    if role == "user" and not uid:
        raise Unauthenticated("the token's sub is not a uid")
    if not uid and not (isinstance(sub, str) and NAME.fullmatch(sub)):
        raise Unauthenticated("the token's sub is not a text of 1 to 64 characters")
    rights = _rights(scope) if role == "operator" else frozenset()
    return Caller(uid, role, float(expires), sub, rights)  # type: ignore[arg-type]


def _rights(scope: object) -> frozenset[Right]:
    """Those that the claim names; all of them without one. Other words in it are for others."""
    if scope is msgspec.UNSET:
        return frozenset(RIGHTS)
    if not isinstance(scope, str):
        raise Unauthenticated("the token's scope is not a text")
    return frozenset(right for right in RIGHTS if right in scope.split(" "))


def _uid(sub: object) -> int:
    """The uid that it is, or 0."""
    if not (isinstance(sub, str) and sub.isascii() and sub.isdigit() and len(sub) <= 16):
        return 0
    return int(sub) if int(sub) < 1 << 53 else 0


def _public_key(pem: str) -> PublicKeyTypes:
    try:
        return load_pem_public_key(pem.replace("\\n", "\n").encode())
    except ValueError as error:
        raise BadSetting(f"CLOCK_JWT_PUBLIC_KEY is not a PEM public key: {error}") from None
