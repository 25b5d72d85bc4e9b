"""Tokens: which keys and algorithms are believed, what they may claim, and whose clock judges them."""

import base64
import hashlib
import hmac
import itertools
import json
import time
from typing import Any, Literal

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clock.config import BadSetting, Settings
from clock.tokens import Tokens
from tests.conftest import JWT_SECRET, Api, at

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
KEYS: dict[str, PrivateKey] = {"RS256": RSA, "ES256": EC, "EdDSA": ED}


def pem(key: PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Of user 7, good for a minute; ``changes`` to them, ``...`` to leave one out."""
    given = {"sub": "7", "exp": int(time.time()) + 60, **changes}
    return {name: value for name, value in given.items() if value is not ...}


@pytest.fixture
def public_key() -> str:
    return ""


@pytest.fixture
def secret() -> str:
    return JWT_SECRET


@pytest.fixture
def settings(settings: Settings, public_key: str, secret: str) -> Settings:
    return msgspec.structs.replace(settings, jwt_public_key=public_key, jwt_secret=secret)


async def code(api: Api, token: str, uid: int = 7) -> str:
    """What a verb of ``uid`` answers to the bearer of the token."""
    _, reply = await api.send(
        "POST", "/api/check-in/status", {"uid": uid}, {"authorization": f"Bearer {token}"} if token else {}
    )
    return str(reply["code"])


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_hs256_with_our_secret_is_believed(api: Api) -> None:
    assert await code(api, jwt.encode(claims(), JWT_SECRET, algorithm="HS256")) == "ok"
    assert await code(api, jwt.encode(claims(), JWT_SECRET, algorithm="HS512")) == "unauthenticated"


@pytest.mark.parametrize("secret", ["", JWT_SECRET], ids=["alone", "beside a secret"])
@pytest.mark.parametrize(
    ("algorithm", "public_key"),
    [(name, pem(key)) for name, key in KEYS.items()],
    ids=list(KEYS),
)
async def test_a_token_signed_with_the_private_key_is_believed_and_no_other(
    api: Api, algorithm: str, secret: str, public_key: str
) -> None:
    for name, key in KEYS.items():
        expected = "ok" if name == algorithm else "unauthenticated"
        assert await code(api, jwt.encode(claims(), key, algorithm=name)) == expected, name
    others: dict[str, PrivateKey] = {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    assert await code(api, jwt.encode(claims(), others[algorithm], algorithm=algorithm)) == "unauthenticated"
    by_secret = jwt.encode(claims(), JWT_SECRET, algorithm="HS256")
    assert await code(api, by_secret) == ("ok" if secret else "unauthenticated")


def forged_with(key: bytes, algorithm: Literal["HS256", "none"] = "HS256") -> str:
    """A token that takes what is public for a secret, put together by hand: libraries refuse to make it."""

    def part(content: Any) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=")

    signed = part({"alg": algorithm, "typ": "JWT"}) + b"." + part(claims())
    digest = hmac.new(key, signed, hashlib.sha256).digest() if algorithm == "HS256" else b""
    return (signed + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()


@pytest.mark.parametrize("secret", ["", JWT_SECRET], ids=["alone", "beside a secret"])
@pytest.mark.parametrize("public_key", [pem(RSA)])
async def test_the_public_key_is_nobodys_secret(api: Api, public_key: str, secret: str) -> None:
    assert await code(api, forged_with(JWT_SECRET.encode())) == ("ok" if secret else "unauthenticated")
    der = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for key in (public_key.encode(), public_key.strip().encode(), public_key.replace("\n", "\\n").encode(), der, b""):
        assert await code(api, forged_with(key)) == "unauthenticated"
    assert await code(api, forged_with(b"", "none")) == "unauthenticated"
    assert await code(api, forged_with(b"", "none") + "AAAA") == "unauthenticated"


@pytest.mark.parametrize("public_key", [pem(ED).replace("\n", "\\n")])
async def test_a_public_key_may_stand_on_one_line(api: Api, public_key: str) -> None:
    assert await code(api, jwt.encode(claims(), ED, algorithm="EdDSA")) == "ok"


def test_a_public_key_that_is_none_stops_the_start_by_name() -> None:
    with pytest.raises(BadSetting, match="CLOCK_JWT_PUBLIC_KEY"):
        Tokens(Settings(jwt_public_key="-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----"))


BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "no sub": {"sub": ...},
    "no exp": {"exp": ...},
    "sub a number": {"sub": 7},
    "sub empty": {"sub": ""},
    "sub a name": {"sub": "seven"},
    "sub negative": {"sub": "-7"},
    "sub zero": {"sub": "0"},
    "sub with a sign": {"sub": "+7"},
    "sub a float": {"sub": "7.0"},
    "sub with blanks": {"sub": " 7"},
    "sub in other digits": {"sub": "٧"},
    "sub above 2^53-1": {"sub": str(2**53)},
    "sub endless": {"sub": "7" * 5000},
    "role unknown": {"role": "admin"},
    "role empty": {"role": ""},
    "role null": {"role": None},
    "role a list": {"role": ["operator"]},
    "exp past": {"exp": 1},
    "exp now": {"exp": int(time.time())},
    "exp a text": {"exp": "tomorrow"},
    "exp a number in a text": {"exp": str(int(time.time()) + 3600)},
    "exp null": {"exp": None},
    "exp infinite": {"exp": float("inf")},
    "exp endless": {"exp": 10**400},
    "exp a list": {"exp": [int(time.time()) + 3600]},
    "not yet": {"nbf": int(time.time()) + 3600},
    "a service without a name": {"role": "service", "sub": ""},
    "an operator with a long name": {"role": "operator", "sub": "x" * 65},
    "an operator with a name of two lines": {"role": "operator", "sub": "a\nb"},
    "an operator with a NUL": {"role": "operator", "sub": "a\x00"},
    "a service with half an emoji": {"role": "service", "sub": "a\ud83d"},
    "a service whose name is a number": {"role": "service", "sub": 7},
}


async def test_the_issuers_clock_may_be_a_minute_ahead(api: Api) -> None:
    now = int(time.time())
    for known in (False, True):
        for changes in (
            {"iat": now + 3_000},
            {"iat": "when"},
            {"iat": None},
            {"nbf": now + 50},
            {"iat": now + 9, "nbf": now + 9},
        ):
            assert await code(api, jwt.encode(claims(**changes, jti=f"{known}"), JWT_SECRET)) == "ok", changes
        assert await code(api, jwt.encode(claims(nbf=now + 90), JWT_SECRET)) == "unauthenticated"
        assert await code(api, jwt.encode(claims(exp=now - 1), JWT_SECRET)) == "unauthenticated"


@pytest.mark.parametrize("public_key", [pem(ED)])
async def test_leeway_is_the_same_for_public_keys(api: Api, public_key: str) -> None:
    now = int(time.time())
    for changes, expected in (
        ({"iat": now + 99}, "ok"),
        ({"nbf": now + 50}, "ok"),
        ({"nbf": now + 90}, "unauthenticated"),
        ({"exp": now - 1}, "unauthenticated"),
        ({"exp": now - 30}, "unauthenticated"),
    ):
        assert await code(api, jwt.encode(claims(**changes), ED, algorithm="EdDSA")) == expected, changes


async def test_services_and_operators_are_named_by_any_text(api: Api) -> None:
    names = ["platform-backend", "王 操作员", "x" * 64, "0", "-7", str(2**60), "a@b.c/d:e"]
    for name, known in itertools.product(names, (False, True)):
        service = jwt.encode(claims(sub=name, role="service", jti=str(known)), JWT_SECRET)
        assert await code(api, service, uid=8) == "ok"
        status, reply = await api.send("GET", "/api/me?uid=8", headers={"authorization": f"Bearer {service}"})
        assert (status, reply["code"]) == (200, "ok")
        status, reply = await api.send("GET", "/api/me", headers={"authorization": f"Bearer {service}"})
        assert (status, "uid" in reply["message"]) == (400, True)
        operator = jwt.encode(claims(sub=name, role="operator", jti=str(known)), JWT_SECRET)
        assert await code(api, operator) == "forbidden"
        assert (await api.send("GET", "/ops/live", headers={"authorization": f"Bearer {operator}"}))[0] == 200
        assert await code(api, jwt.encode(claims(sub=name), JWT_SECRET)) == "unauthenticated"


async def test_a_token_with_claims_that_make_no_sense_is_nobodys(api: Api) -> None:
    for what, changes in BAD_CLAIMS.items():
        assert await code(api, jwt.encode(claims(**changes), JWT_SECRET)) == "unauthenticated", what


async def test_a_signature_with_any_other_last_letter_is_not_ours(api: Api) -> None:
    """Two bits of it are left over in base64; a decoder that skips them takes four letters for one."""
    for known in (False, True):
        token = jwt.encode(claims(jti=str(known)), JWT_SECRET)
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
            if letter != token[-1]:
                assert await code(api, token[:-1] + letter) == "unauthenticated", (known, letter)
        for more in ("=", "==", "A", "AA", "!", ".", "\t."):
            assert await code(api, token + more) == "unauthenticated", (known, more)
        assert await code(api, token) == "ok"


async def test_blanks_around_a_token_are_not_remembered(api: Api) -> None:
    """Or whoever has one good token could fill the memory with it."""
    known = api.service.tokens._known
    token = jwt.encode(claims(), JWT_SECRET)
    for scheme in ("Bearer ", "bearer ", "Bearer" + " " * 50_000, "Bearer  "):
        status, _ = await api.send("POST", "/api/check-in/status", {"uid": 7}, {"authorization": scheme + token})
        assert status == 200
    assert [key for key in known if key.endswith(token.encode())] == [f"Bearer {token}".encode()]


async def test_a_uid_may_be_as_large_as_the_contract_says_and_a_role_may_be_left_out(api: Api) -> None:
    assert await code(api, jwt.encode(claims(sub=str(2**53 - 1)), JWT_SECRET), uid=2**53 - 1) == "ok"
    assert await code(api, jwt.encode(claims(role="user", aud="anybody", iss="platform"), JWT_SECRET)) == "ok"


async def test_a_token_that_was_good_a_moment_ago_is_refused_once_it_has_expired(api: Api) -> None:
    token = jwt.encode(claims(exp=int(time.time()) + 2), JWT_SECRET)
    assert await code(api, token) == "ok"
    assert await code(api, token) == "ok"
    while time.time() < jwt.decode(token, options={"verify_signature": False})["exp"]:
        time.sleep(0.05)
    for _ in range(2):
        assert await code(api, token) == "unauthenticated"


@pytest.mark.parametrize("days", [-400, 400])
async def test_the_games_clock_neither_ages_a_token_nor_keeps_it_young(api: Api, days: int) -> None:
    good = jwt.encode(claims(), JWT_SECRET)
    assert await code(api, good) == "ok"
    api.service.time.stop_at(at("12:00", days))
    assert await code(api, good) == "ok"
    assert await code(api, jwt.encode(claims(sub="7", jti="fresh"), JWT_SECRET)) == "ok"
    for expired in (int(time.time()) - 1, at("12:00", -400) // 1000 + 60):
        assert await code(api, jwt.encode(claims(exp=expired), JWT_SECRET)) == "unauthenticated"
