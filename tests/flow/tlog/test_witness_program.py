"""``examples/witness.py`` answers as https://c2sp.org/tlog-witness says, and keeps what it has signed."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from clock.fair import tiles
from clock.fair.checkpoints import Checkpoint, cosigner_of
from clock.fair.notes import Signer, new_key, sign, signers_of
from clock.fair.trees import EMPTY
from tests.flow.tlog.stage import ROOT, Running, witness

NAME = "log.example.org"
[LOG] = signers_of(new_key(NAME))
[OTHER] = signers_of(new_key(NAME))
HASHES = tiles.grow({}, 0, [str(number).encode() for number in range(20)])
FORK = tiles.grow({}, 0, [str(number + 1).encode() for number in range(20)])


class Log:
    """Asks a witness."""

    def __init__(self, session: aiohttp.ClientSession, running: Running) -> None:
        self._session, self.running = session, running

    async def post(self, body: str | bytes) -> tuple[int, str]:
        async with self._session.post(f"{self.running.url}/add-checkpoint", data=body) as reply:
            if reply.status == 409:
                assert reply.headers["content-type"] == "text/x.tlog.size"
            return reply.status, await reply.text()

    async def add(self, old: int, size: int, **how: Any) -> tuple[int, str]:
        return await self.post(body_of(old, size, **how))


def text_of(size: int, hashes: tiles.Hashes = HASHES, origin: str = NAME) -> str:
    return str(Checkpoint(origin, size, tiles.root((0, size), hashes)))


def body_of(
    old: int,
    size: int,
    hashes: tiles.Hashes = HASHES,
    signers: Sequence[Signer] = (LOG,),
    text: str = "",
    proof: list[bytes] | None = None,
) -> str:
    if proof is None:
        proof = [tiles.root(one, hashes) for one in tiles.consistency(min(old, size), size)]
    lines = [base64.b64encode(node).decode() for node in proof]
    return "\n".join([f"old {old}", *lines, "", sign(text or text_of(size, hashes), signers)])


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Log]:
    """One that has signed the log with 5 entries."""
    async with (
        witness(tmp_path_factory.mktemp("witness") / "w", log=str(LOG.verifier)) as running,
        aiohttp.ClientSession() as session,
    ):
        log = Log(session, running)
        assert (await log.add(0, 5))[0] == 200
        yield log


REFUSED: dict[str, tuple[int, str | bytes]] = {
    "another old size": (409, body_of(4, 7)),
    "an old size of 0": (409, body_of(0, 7)),
    "a smaller log": (409, body_of(3, 4)),
    "an old size above the new one": (400, body_of(5, 4, proof=[])),
    "another log of the size": (409, body_of(5, 5, FORK)),
    "a fork": (422, body_of(5, 7, FORK)),
    "a proof too short": (422, body_of(5, 7, proof=[])),
    "a proof too long": (422, body_of(5, 5, proof=[EMPTY])),
    "a wrong proof": (422, body_of(5, 7, proof=[EMPTY] * len(tiles.consistency(5, 7)))),
    "another name": (404, body_of(5, 7, text=text_of(7, origin="another.example.org"))),
    "no known key": (403, body_of(5, 7, signers=[OTHER])),
    "a wrong signature": (403, body_of(5, 7).replace(body_of(5, 7)[-80:-40], body_of(5, 8)[-80:-40])),
    "no signature": (400, body_of(5, 7).rpartition("— ")[0]),
    "no old size": (400, body_of(5, 7).partition("\n")[2]),
    "an old size with a zero": (400, body_of(5, 7).replace("old 5", "old 05")),
    "a proof of no hash": (400, body_of(5, 7, proof=[b"short"])),
    "a proof that is not base64": (400, body_of(5, 7).replace("\n\n", "\n?\n\n", 1)),
    "a proof of 64 lines": (400, body_of(5, 7, proof=[EMPTY] * 64)),
    "a root in another spelling": (400, body_of(5, 7, text=text_of(7).replace("=\n", "\n"))),
    "a size with a zero": (400, body_of(5, 7, text=text_of(7).replace("\n7\n", "\n07\n"))),
    "nothing": (400, ""),
    "not UTF-8": (400, b"old 5\n\n\xff\n\n"),
    "too much": (404, b"x" * 70_000),
}


@pytest.mark.parametrize("how", REFUSED)
async def test_what_is_refused_has_its_status_and_changes_nothing(shared: Log, how: str) -> None:
    before = shared.running.state.read_bytes()
    status, body = REFUSED[how]
    found, said = await shared.post(body)
    assert found == status, said
    assert status != 409 or said == "5\n"
    assert shared.running.state.read_bytes() == before


async def test_what_it_signs_is_kept_and_can_be_read(tmp_path: Path) -> None:
    keys = str(LOG.verifier)
    async with witness(tmp_path / "w", log=keys) as running, aiohttp.ClientSession() as session:
        log, key = Log(session, running), cosigner_of(running.key)
        place = f"{running.url}/{hashlib.sha256(NAME.encode()).hexdigest()}/checkpoint"
        async with session.get(place) as reply:
            assert reply.status == 404
        empty = str(Checkpoint(NAME, 0, EMPTY))
        assert (await log.add(0, 0, text=empty))[0] == 200
        assert (await log.add(0, 0, text=str(Checkpoint(NAME, 0, bytes(32)))))[0] == 409
        for old, size in ((0, 1), (1, 1), (1, 6), (6, 20)):
            status, lines = await log.add(old, size, signers=[OTHER, LOG])
            assert status == 200 and key.cosigned(text_of(size), lines)
            async with session.get(place) as reply:
                assert await reply.text() == sign(text_of(size), [LOG]) + lines
        await running.kill()
        assert oct((running.folder / "w.key").stat().st_mode)[-3:] == "600"
        assert await running.start() == "" and cosigner_of(running.key) == key
        assert await log.add(1, 6) == (409, "20\n")
        assert await log.add(20, 20, hashes=FORK) == (409, "20\n")
        async with session.get(place) as reply:
            assert await reply.text() == sign(text_of(20), [LOG]) + lines


async def test_of_many_at_once_one_story_is_told(tmp_path: Path) -> None:
    """Two logs of the same name, each asked for by many."""
    async with witness(tmp_path / "w", log=str(LOG.verifier)) as running, aiohttp.ClientSession() as session:
        log = Log(session, running)
        asked = [log.add(0, 10, hashes=hashes) for hashes in (HASHES, FORK) for _ in range(10)]
        statuses = [status for status, _ in await asyncio.gather(*asked)]
        assert sorted(statuses) == [200] + [409] * 19


async def test_who_drips_keeps_no_place(tmp_path: Path) -> None:
    """The same program with one place, and less patience."""
    program, constants = tmp_path / "hurried.py", "IDLE_SECONDS, CONNECTION_SECONDS = 65_536, 63, 64, 30, 60"
    text = (ROOT / "examples" / "witness.py").read_text()
    assert constants in text
    program.write_text(text.replace(constants, constants.replace("64, 30, 60", "1, 30, 0.3")))
    async with witness(tmp_path / "w", log=str(LOG.verifier), program=program) as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"POST /add-checkpoint HTTP/1.1\r\n")

        async def drip() -> None:
            with suppress(ConnectionError):
                while True:
                    writer.write(b"x")
                    await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        async with aiohttp.ClientSession() as session:
            assert (await asyncio.wait_for(Log(session, running).add(0, 5), 10))[0] == 200
        dripping.cancel()
        writer.close()


async def test_it_does_not_begin_without_what_it_has_signed(tmp_path: Path) -> None:
    async with witness(tmp_path / "w", log=str(LOG.verifier)) as running:
        second = Running(running.folder, log=running.log)
        assert "Resource temporarily unavailable" in await second.start()
        await second.kill()
        await running.kill()
        kept = running.state.read_bytes()
        running.state.unlink()
        assert "w.state is missing" in await running.start()
        running.state.write_bytes(kept[:-1])
        assert "witness.py: " in await running.start()
        running.state.write_bytes(kept)
        (running.folder / "w.key").rename(running.folder / "elsewhere")
        assert "w.key is missing" in await running.start()


@pytest.mark.parametrize("name", ["two words", "a+b", ""])
async def test_a_name_that_no_key_can_have_makes_none(name: str, tmp_path: Path) -> None:
    assert "without spaces and +" in await Running(tmp_path, name=name).start()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("log", ["play.example.com/clock", "a+b+c", "log.example.org+78f01f2a+ATmb5qVI"])
async def test_a_log_without_a_key_is_refused(log: str, tmp_path: Path) -> None:
    assert "is no public key of Ed25519" in await Running(tmp_path, log=log).start()
