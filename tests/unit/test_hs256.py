"""The fast path for HS256 tokens: it accepts nothing that PyJWT would refuse."""

import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.config import Settings
from clock.tokens import Caller, Tokens, Unauthenticated
from tests.conftest import JWT_SECRET

FAR_S = 4_102_444_800
"""In the year 2100."""


def signed(secret: str = JWT_SECRET, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    whole = {"sub": "7", "exp": int(time.time()) + 3600, **claims}
    return jwt.encode({k: v for k, v in whole.items() if v is not ...}, secret, algorithm="HS256", headers=headers)


@pytest.fixture
def tokens() -> Tokens:
    """Has seen a good token, so that it knows the issuer's header."""
    tokens = Tokens(Settings(jwt_secret=JWT_SECRET))
    tokens.caller(f"Bearer {signed(sub='1')}".encode())
    return tokens


def test_a_good_token_of_a_known_issuer_needs_no_pyjwt(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token, expires = signed(role="service", iat=int(time.time()) - 5), int(time.time()) + 3600
    monkeypatch.setattr(jwt, "decode", lambda *_, **__: pytest.fail("asked PyJWT"))
    caller = tokens.caller(f"Bearer {token}".encode())
    assert (caller.uid, caller.role) == (7, "service")
    assert abs(caller.expires_s - expires) <= 1


def test_every_signature_of_a_known_header_is_checked(tokens: Tokens) -> None:
    good = signed()
    head, payload, signature = good.split(".")
    other = signed(sub="8").split(".")[1]
    forged = [signed("another secret of thirty-two bytes"), f"{head}.{other}.{signature}", f"{head}.{payload}."]
    forged += [f"{head}.{payload}.{'A' * len(signature)}", f"{head}..{signature}", f"{head}.{payload}", good + "x" * 4]
    for token in [*forged, f"{head}.{payload}.{signature}.{signature}", f"{head}.{payload}.ü"]:
        with pytest.raises(Unauthenticated):
            tokens.caller(f"Bearer {token}".encode())
    assert tokens.caller(f"Bearer {good}".encode()).uid == 7


@pytest.mark.parametrize(
    "claims",
    [
        *({"sub": sub, "role": role} for sub in ("name", "", "a\n", "a\ud83d", 7) for role in ("service", "operator")),
        *({"sub": sub} for sub in (..., 7, "", "0", "-7", "seven", "7.0", "٧", str(2**53), str(2**53 - 1))),
        *({"role": role} for role in ("admin", "", None, ["operator"], "operator", ...)),
        *({"exp": exp} for exp in (..., 1, "tomorrow", None, 2**60, FAR_S + 0.5, [2**40])),
        *({name: value} for name in ("iat", "nbf") for value in (0, FAR_S, "now", None, 1.5)),
        *({"jti": jti} for jti in ("an id", 7, None)),
        {"aud": "anybody", "iss": "platform", "deep": {"a": [1, {"b": None}]}},
    ],
    ids=repr,
)
def test_a_known_header_changes_nothing_about_what_is_accepted(tokens: Tokens, claims: dict[str, Any]) -> None:
    token = f"Bearer {signed(**claims)}"
    assert answer(tokens, token) == answer(Tokens(Settings(jwt_secret=JWT_SECRET)), token)


@pytest.mark.parametrize(("claim", "ahead_s"), [("nbf", 1), ("nbf", 50), ("nbf", 70), ("iat", 1), ("iat", 5_000)])
def test_a_known_header_changes_nothing_about_the_leeway(tokens: Tokens, claim: str, ahead_s: int) -> None:
    ahead: dict[str, Any] = {claim: int(time.time()) + ahead_s}
    token = f"Bearer {signed(**ahead)}"
    judged = answer(tokens, token)
    assert judged == answer(Tokens(Settings(jwt_secret=JWT_SECRET)), token)
    assert (judged is None) == (claim == "nbf" and ahead_s > 60)


def test_a_header_that_pyjwt_has_not_accepted_is_left_to_it(tokens: Tokens) -> None:
    token = f"Bearer {signed(headers={'crit': ['unheard of'], 'unheard of': True})}"
    for one in (tokens, tokens):
        with pytest.raises(Unauthenticated):
            one.caller(token.encode())


BITS = st.tuples(st.integers(0, 400), st.binary(max_size=3), st.integers(0, 3))
"""A place in a token, what is put there, and how many bytes it replaces."""


@given(st.lists(BITS, max_size=3), st.text(max_size=3), st.integers(-100, 100))
def test_whatever_is_done_to_a_token_pyjwt_says_the_same(
    changes: list[tuple[int, bytes, int]], sub: str, left_s: int
) -> None:
    token = signed(sub=sub or "7", exp=int(time.time()) + left_s * 1_000 + 500).encode()
    for place, bytes_, replaced in changes:
        token = token[:place] + bytes_ + token[place + replaced :]
    known = Tokens(Settings(jwt_secret=JWT_SECRET))
    known.caller(f"Bearer {signed(sub='1')}".encode())
    text = (b"Bearer " + token).decode("latin-1")
    assert answer(known, text) == answer(Tokens(Settings(jwt_secret=JWT_SECRET)), text)


def answer(tokens: Tokens, token: str) -> Caller | None:
    try:
        return tokens.caller(token.encode("latin-1"))
    except Unauthenticated:
        return None
