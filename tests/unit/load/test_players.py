"""Tokens of the players, and what a phone does next."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from clock.config import Settings
from clock.load.curve import instant
from clock.load.job import Job, Users
from clock.load.players import BadKey, Players, Reply, signer, tokens_in
from clock.tokens import Tokens


def players(**changes: object) -> Players:
    job = Job(
        url="http://x",
        address=("127.0.0.1", 1),
        verb="day",
        curve=instant(1),
        users=Users(tokens=[(7, "t7"), (8, "t8"), (9, "t9")]),
        connections=1,
        timeout_s=1,
        patience_s=1,
    )
    return Players(msgspec.structs.replace(job, **changes), "x", "/game")


KEYS: dict[str, Callable[[], Any]] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_service_knows_tokens_of_a_private_key(algorithm: str) -> None:
    key = KEYS[algorithm]()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    token = signer(Users(private_key=pem))(7)
    assert Tokens(Settings(jwt_public_key=public)).caller(f"Bearer {token}".encode()).uid == 7
    with pytest.raises(BadKey):
        signer(Users(private_key=public))


def test_the_service_knows_tokens_of_a_secret() -> None:
    secret = "a secret that is used in tests only, 32 bytes"
    token = signer(Users(secret=secret))(7)
    assert Tokens(Settings(jwt_secret=secret)).caller(f"Bearer {token}".encode()).uid == 7


@pytest.mark.parametrize("text", ["", "7\n", "7 a b\n", "x token\n", "0 token\n", "7 tökén\n"])
def test_a_file_that_has_no_tokens_is_refused(text: str) -> None:
    with pytest.raises(BadKey, match="the file"):
        tokens_in(text, "the file")


def test_players_are_dealt_out_and_each_has_its_own_token() -> None:
    parts = [players(part=part, parts=2) for part in range(2)]
    assert [[one.uid(number) for number in range(3)] for one in parts] == [[7, 9, 7], [8, 8, 8]]
    raw = parts[0].request("claim", 9)
    assert raw.startswith(b"POST /game/api/claim HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer t9\r\n" in raw
    assert raw.endswith(b'\r\nContent-Length: 9\r\n\r\n{"uid":9}')


HOUR = {"check_in_opens_ms": 100, "check_in_closes_ms": 200}
PACKET = {"clock_status": 2, "red_status": 1, "state": "settled"}


@pytest.mark.parametrize(
    ("summary", "does"),
    [
        ({"clock_status": 1, "server_time": 99, "rules": HOUR}, []),
        ({"clock_status": 1, "server_time": 100, "rules": HOUR}, ["check-in"]),
        ({"clock_status": 2, "server_time": 100, "rules": HOUR}, []),
        ({"clock_status": 1, "server_time": 200, "rules": HOUR}, []),
        ({"clock_status": 0, "is_start": 1, "yesterday": PACKET}, ["claim", "join"]),
        ({"clock_status": 1, "is_start": 1, "yesterday": {**PACKET, "red_status": 2}}, []),
        ({"clock_status": 0, "is_start": 0, "yesterday": {**PACKET, "state": "open"}}, []),
    ],
)
def test_a_phone_does_what_its_hour_allows(summary: dict[str, object], does: list[str]) -> None:
    reply = Reply("ok", msgspec.Raw(msgspec.json.encode({"summary": summary})))
    assert [verb for verb, _ in players().next_of("day", 7, reply)] == does


def test_who_has_ordered_pays_where_there_is_a_sandbox() -> None:
    reply = Reply("ordered", msgspec.Raw(b'{"order_no":"TTC1","amount":100,"pay":{}}'))
    assert players().next_of("join", 7, reply) == []
    [(verb, raw)] = players(pays=True).next_of("join", 7, reply)
    assert (verb, raw.endswith(b'{"order_no":"TTC1"}')) == ("pay", True)
