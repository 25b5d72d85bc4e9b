"""Who calls: bearer tokens, verified once and remembered until they expire. Always by the real clock.

PyJWT decides. Only what is plainly good is recognised without it: an HS256 token with a header that PyJWT has
accepted before, the right signature, and claims that leave no question. Everything else, every refusal included,
goes through PyJWT.
"""

import hmac
import time
from binascii import a2b_base64, b2a_base64
from typing import Literal, get_args

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from clock.config import BadSetting, Settings

Role = Literal["user", "service", "operator"]

REMEMBERED = 200_000
HEADERS_REMEMBERED = 16
ROLES = get_args(Role)
FROM_URLSAFE = bytes.maketrans(b"-_", b"+/")
TO_URLSAFE = bytes.maketrans(b"+/", b"-_")


class Unauthenticated(Exception):
    """No token, or one that is not good."""


class Caller(msgspec.Struct, frozen=True, gc=False):
    uid: int
    role: Role
    expires_s: float

    def may_act_for(self, uid: int) -> bool:
        return self.uid == uid or self.role == "service"


class Claims(msgspec.Struct, frozen=True, gc=False):
    """What may stand in a token that is recognised without PyJWT."""

    sub: str
    exp: int
    role: Role = "user"
    iat: int = 0
    nbf: int = 0
    jti: str = ""


_claims = msgspec.json.Decoder(Claims).decode


class Tokens:
    def __init__(self, settings: Settings) -> None:
        self._keys: list[tuple[str | PublicKeyTypes, list[str]]] = []
        self._secret = settings.jwt_secret
        if settings.jwt_secret:
            self._keys.append((settings.jwt_secret, ["HS256"]))
        if settings.jwt_public_key:
            self._keys.append((_public_key(settings.jwt_public_key), ["RS256", "ES256", "EdDSA"]))
        self._keyed = hmac.new(settings.jwt_secret.encode(), digestmod="sha256")
        """HMAC with the key in it already: a copy of it costs half of what a new one does."""
        self._headers: set[bytes] = set()
        """First parts of HS256 tokens that PyJWT accepted."""
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
        caller = self._recognised(token) or self._verify(token)
        if authorization == b"Bearer " + token:  # one entry a token, however many blanks somebody puts before it
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[authorization] = caller
        return caller

    def _recognised(self, token: bytes) -> Caller | None:
        """The caller, if the token is plainly good (RFC 7515, 3.1 and RFC 7518, 3.2); ``None`` leaves it to PyJWT."""
        signed, _, signature = token.rpartition(b".")
        header, _, payload = signed.partition(b".")
        if header not in self._headers or not token.isascii():
            return None
        keyed = self._keyed.copy()
        keyed.update(signed)
        try:
            if not hmac.compare_digest(signature, _urlsafe(keyed.digest())):
                return None
            claims = _claims(a2b_base64(payload.translate(FROM_URLSAFE) + b"=="))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        now = time.time()
        if claims.exp <= now or claims.iat > now or claims.nbf > now:
            return None
        return _caller(claims.sub, claims.role, claims.exp)

    def _verify(self, token: bytes) -> Caller:
        if not _is_as_written(token.rpartition(b".")[2]):
            raise Unauthenticated("the token is not valid")
        for key, algorithms in self._keys:
            try:
                claims = jwt.decode(
                    token,
                    key,  # type: ignore[arg-type]
                    algorithms=algorithms,
                    options={"require": ["exp", "sub"], "verify_aud": False},
                )
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
                continue
            caller = _caller(claims.get("sub"), claims.get("role", "user"), claims.get("exp"))
            if algorithms == ["HS256"] and len(self._headers) < HEADERS_REMEMBERED:
                self._headers.add(token.partition(b".")[0])
            return caller
        raise Unauthenticated("the token is not valid")

    def issue(self, uid: int, role: Role = "user", seconds: int = 86_400) -> str:
        """A token signed with ``CLOCK_JWT_SECRET``; raises :class:`BadSetting` without one."""
        if not self._secret:
            raise BadSetting("CLOCK_JWT_SECRET is needed to issue a token")
        claims = {"sub": str(uid), "role": role, "exp": int(time.time()) + seconds}
        return jwt.encode(claims, self._secret, algorithm="HS256")


def _urlsafe(raw: bytes) -> bytes:
    return b2a_base64(raw, newline=False).rstrip(b"=").translate(TO_URLSAFE)


def _is_as_written(signature: bytes) -> bool:
    """Whether it is its bytes' one way to be written: decoders skip what is no digit, and bits that are left over."""
    try:
        return _urlsafe(a2b_base64(signature.translate(FROM_URLSAFE) + b"==")) == signature
    except ValueError:
        return False


def _caller(sub: object, role: object, expires: object) -> Caller:
    if role not in ROLES:
        raise Unauthenticated("the token's role is unknown")
    if not (isinstance(sub, str) and sub.isascii() and sub.isdigit() and len(sub) <= 16 and 0 < int(sub) < 1 << 53):
        raise Unauthenticated("the token's sub is not a uid")
    if not isinstance(expires, int | float) or not 0 < expires < 1 << 53:
        raise Unauthenticated("the token's exp is not a time")
    return Caller(int(sub), role, float(expires))  # type: ignore[arg-type]


def _public_key(pem: str) -> PublicKeyTypes:
    try:
        return load_pem_public_key(pem.replace("\\n", "\n").encode())
    except ValueError as error:
        raise BadSetting(f"CLOCK_JWT_PUBLIC_KEY is not a PEM public key: {error}") from None
