"""An operator's rights, as the token says: the same by both ways of verifying it."""

import time
from typing import Any

import jwt
import pytest

from clock.config import Settings
from clock.tokens import Caller, Tokens, Unauthenticated
from tests.conftest import JWT_SECRET

ALL = {"read", "money", "rules", "people"}

SCOPES: dict[str, tuple[dict[str, Any], set[str] | None]] = {
    "none": ({}, ALL),
    "all": ({"scope": "read money rules people"}, ALL),
    "one": ({"scope": "read"}, {"read"}),
    "others beside it": ({"scope": "openid money email"}, {"money"}),
    "nothing of ours": ({"scope": "openid"}, set()),
    "empty": ({"scope": ""}, set()),
    "another spelling": ({"scope": "Read MONEY"}, set()),
    "part of a word": ({"scope": "readmoney"}, set()),
    "null": ({"scope": None}, None),
    "list": ({"scope": ["read"]}, None),
    "number": ({"scope": 1}, None),
}


def bearer(**claims: Any) -> bytes:
    whole = {"sub": "anna", "exp": int(time.time()) + 60, "role": "operator", **claims}
    return f"Bearer {jwt.encode(whole, JWT_SECRET, algorithm='HS256')}".encode()


def caller(tokens: Tokens, token: bytes) -> Caller | None:
    try:
        return tokens.caller(token)
    except Unauthenticated:
        return None


@pytest.mark.parametrize("known", [False, True], ids=["pyjwt", "fast"])
@pytest.mark.parametrize(("claims", "rights"), SCOPES.values(), ids=SCOPES)
def test_rights_are_what_the_scope_names(claims: dict[str, Any], rights: set[str] | None, known: bool) -> None:
    tokens = Tokens(Settings(jwt_secret=JWT_SECRET))
    if known:
        tokens.caller(bearer(sub="somebody"))
    found = caller(tokens, bearer(**claims))
    assert (None if found is None else set(found.scopes)) == rights


@pytest.mark.parametrize("known", [False, True], ids=["pyjwt", "fast"])
@pytest.mark.parametrize("role", ["user", "service"])
@pytest.mark.parametrize("scope", ["read money", ["openid"], None], ids=repr)
def test_a_scope_is_of_no_concern_to_others(role: str, scope: Any, known: bool) -> None:
    tokens = Tokens(Settings(jwt_secret=JWT_SECRET))
    if known:
        tokens.caller(bearer(sub="somebody"))
    found = caller(tokens, bearer(sub="7", role=role, scope=scope))
    assert found is not None
    assert (found.uid, found.role, found.scopes) == (7, role, frozenset())


def test_a_token_is_issued_with_a_name_and_rights() -> None:
    tokens = Tokens(Settings(jwt_secret=JWT_SECRET))
    found = tokens.caller(f"Bearer {tokens.issue('anna', 'operator', 60, 'read money')}".encode())
    assert (found.name, found.uid, set(found.scopes)) == ("anna", 0, {"read", "money"})
    assert set(tokens.caller(f"Bearer {tokens.issue(7, 'operator')}".encode()).scopes) == ALL
