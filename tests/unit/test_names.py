"""Name servers that are silent hold up nothing but the look-up of names outside."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clock.beacon.relays import Beacon, fetch
from clock.fair.checkpoints import Cosigner
from clock.names import Names
from clock.tlog import asking
from clock.tlog.asking import NotSigned, add_checkpoint
from clock.tlog.settings import Witness
from tests.unit.beacon.stage import NUMBER, double

KEY = Cosigner("w", bytes(32))

ROOT = Path(__file__).parents[2]

MANY = 40
"""More than asyncio has threads, on any machine."""


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    over, look_up = threading.Event(), socket.getaddrinfo

    def silent(host: str, *args: object, **named: object) -> object:
        if host.endswith(".example"):
            assert over.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "silent")
        return look_up(host, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    yield
    over.set()


async def test_silent_name_servers_of_relays_leave_the_threads_of_the_settlement_alone(silence: None) -> None:
    beacon = Beacon(double().chain, tuple(f"http://relay{number}.example" for number in range(MANY)))
    assert await fetch(beacon, NUMBER, 0.1) is None
    assert await asyncio.wait_for(asyncio.to_thread(len, "abc"), 5) == 3


async def test_silent_name_servers_of_witnesses_leave_them_alone(
    silence: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "SECONDS", 0.1)

    async def ask(number: int) -> None:
        async with asking.session() as session:
            with pytest.raises(NotSigned):
                await add_checkpoint(session, Witness(KEY, f"http://w{number}.example"), 0, [], "text\n", "note")

    await asyncio.gather(*(ask(number) for number in range(MANY)))
    assert await asyncio.wait_for(asyncio.to_thread(len, "abc"), 5) == 3


def test_whoever_asks_others_looks_their_names_up_there() -> None:
    asking = 0
    for path in (ROOT / "clock").rglob("*.py"):
        text = path.read_text("utf-8")
        if "dev" not in path.parts and path.name != "supervise.py":  # which ask their own
            asking += text.count("aiohttp.ClientSession(")
            assert text.count("aiohttp.ClientSession(") == text.lower().count("resolver=names"), path
    assert asking >= 4


async def test_a_name_has_all_its_addresses() -> None:
    found = await Names(1).resolve("localhost", 80, socket.AF_UNSPEC)
    assert found and {(one["hostname"], one["port"]) for one in found} == {("localhost", 80)}
    assert {one["host"] for one in found} <= {"127.0.0.1", "::1"}
