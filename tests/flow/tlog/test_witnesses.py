"""Witnesses sign what was logged; whatever one of them does holds up nothing, and no witness tells two stories."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from clock.config import Settings
from clock.fair.notes import new_key
from clock.logs import Said
from clock.operators.watch.watcher import Watch
from clock.runtime.jobs import Lasting
from clock.runtime.sending import witness as witness_job
from clock.service import Service
from tests.conftest import DAY, Api, serving
from tests.flow.settlement.stage import CROWD, play, stop
from tests.flow.stage import working
from tests.flow.tlog.mirror import Mirror, climbs, signed
from tests.flow.tlog.stage import LOG_KEY, ask_all, query, state, take_all, tamper, witness

ALARMS = ("witness_silent", "log_contradicted")


@asynccontextmanager
async def watched(settings: Settings, *witnesses: str) -> AsyncIterator[Service]:
    """A service with these witnesses."""
    service = Service(msgspec.structs.replace(settings, witnesses=" ".join(witnesses)), answer_seconds=None)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def signed_sizes(service: Service) -> list[int]:
    return [row["size"] for row in await query(service, "SELECT size FROM log_cosignatures ORDER BY size")]


async def ask_again(service: Service) -> None:
    """As if the time had come."""
    await tamper(service, "UPDATE log_witnesses SET ask_at = now()")
    await ask_all(service)


async def rung(service: Service) -> list[str]:
    found = (await Watch(service).live()).data["alarms"]
    return [alarm["code"] for alarm in found if alarm["code"] in ALARMS]


async def logged(api: Api, witness_key: str, *kinds: str) -> dict[str, Any]:
    """What is shown of the round; these statements are in the log, by paths that were followed here."""
    status, reply = await api.send("GET", f"/api/rounds/{DAY}/proof")
    shown: dict[str, Any] = reply["data"]
    assert status == 200 and shown["witnesses"] == [witness_key]
    for kind, place in shown["logged"].items():
        assert (place is not None) == (kind in kinds), kind
        if place:
            checkpoint = signed(place["checkpoint"], [*shown["keys"], witness_key])
            text = shown["statements"][kind].partition("\n\n")[0] + "\n"
            assert climbs(text, place["index"], place["size"], place["path"]) == checkpoint.root
            assert checkpoint.size == place["size"]
            assert checkpoint.signed_by == ["PeterNeumann", "witness.example.org/w1"]
    return shown


async def test_a_day_is_logged_and_witnessed(settings: Settings, tmp_path: Path) -> None:
    """Statement by statement, and a witness that is another process."""
    async with (
        witness(tmp_path / "w") as running,
        serving(msgspec.structs.replace(settings, witnesses=running.setting)) as api,
    ):
        service = api.service
        await play(service, DAY, CROWD)
        _, reply = await api.send("GET", f"/api/rounds/{DAY}/proof")
        assert set(reply["data"]["logged"].values()) == {None} and "witnesses" in reply["data"]["missing"]
        await take_all(service)
        _, reply = await api.send("GET", f"/api/rounds/{DAY}/proof")
        assert reply["data"]["logged"]["opened"] and "witnesses" in reply["data"]["missing"]
        await ask_all(service)
        assert "witnesses" not in (await logged(api, running.key, "opened"))["missing"]
        stop(service, DAY, "08:05")
        assert await service.settling.settle(DAY) == "settled"
        assert "witnesses" in (await logged(api, running.key, "opened"))["missing"], "C is what matters now"
        await take_all(service)
        await ask_all(service)
        shown = await logged(api, running.key, "opened", "closed", "published")
        assert "witnesses" not in shown["missing"] and len(shown["statements"]) == 4
        read, texts = await Mirror(api.session, f"{api.url}/log").whole([LOG_KEY, running.key])
        assert read.signed_by == ["PeterNeumann", running.name] and len(texts) >= 3
        origin = hashlib.sha256(b"PeterNeumann").hexdigest()
        async with api.session.get(f"{running.url}/{origin}/checkpoint") as kept:
            assert signed(await kept.text(), [LOG_KEY, running.key]) == read
        assert await rung(service) == []


async def test_a_worker_does_it_by_itself(process: Service, settings: Settings, tmp_path: Path) -> None:
    """Two processes of other programs, and nobody asks them."""
    await process.opener.open_round(DAY)
    async with (
        witness(tmp_path / "w") as running,
        working(msgspec.structs.replace(settings, witnesses=running.setting)),
        asyncio.timeout(30),
    ):
        while not await signed_sizes(process):
            await asyncio.sleep(0.05)
    [line] = await query(process, "SELECT witness FROM log_cosignatures LIMIT 1")
    assert line["witness"] == running.key


@asynccontextmanager
async def between(running: Any, then: Callable[[], Any]) -> AsyncIterator[str]:
    """Hands requests on to a witness; of its answers nobody hears, and ``then`` is what happens next."""

    async def serve(request: web.Request) -> web.Response:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{running.url}/add-checkpoint", data=await request.read()) as reply,
        ):
            assert reply.status == 200
        await then()
        assert request.transport
        request.transport.abort()
        return web.Response()

    app = web.Application()
    app.router.add_post("/add-checkpoint", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_witness_that_is_killed_before_its_answer_is_heard_tells_no_other_story(
    process: Service, settings: Settings, tmp_path: Path
) -> None:
    for first, last in ((0, 4), (4, 5)):
        await state(process, first, last)
        await take_all(process)
    async with witness(tmp_path / "w") as running:
        async with between(running, running.kill) as url, watched(settings, f"{running.key} {url}") as service:
            await ask_all(service)
            assert await signed_sizes(service) == []
        assert b'"size": 4' in running.state.read_bytes()
        await running.start()
        async with watched(settings, running.setting) as service:
            await ask_again(service)
            assert await signed_sizes(service) == [4, 5]
            await tamper(service, "DELETE FROM log_cosignatures")
            await forked(service, 5, 4)
            await ask_again(service)
            assert await signed_sizes(service) == []
            assert (await query(service, "SELECT said FROM log_witnesses"))[0]["said"].startswith("status 422")


async def forked(service: Service, size: int, again_from: int) -> None:
    """Postgres is put back to a backup of an earlier size, and other statements come."""
    for table, column in (("log_entries", "index"), ("log_hashes", "index")):
        await tamper(service, f"DELETE FROM {table} WHERE {column} >= %s", again_from)
    await tamper(service, "DELETE FROM log_checkpoints WHERE size > %s", again_from)
    await state(service, 1_000, 1_000 + size - again_from)
    await take_all(service)


async def test_a_log_that_was_put_back_is_refused_and_said(
    process: Service, settings: Settings, tmp_path: Path
) -> None:
    for first, last in ((0, 3), (3, 5)):
        await state(process, first, last)
        await take_all(process)
    async with witness(tmp_path / "w") as running, watched(settings, running.setting) as service:
        await ask_all(service)
        assert await signed_sizes(service) == [3, 5]
        await tamper(service, "DELETE FROM log_cosignatures WHERE size = 5")
        await forked(service, 4, 3)
        with capture_logs() as logs:
            await ask_all(service)
        [said] = [line for line in logs if line["event"] == "witness_not_signed"]
        assert said["log_level"] == "error" and "5 entries, and here it has 4" in said["said"]
        assert await rung(service) == ["log_contradicted"]
        await state(service, 2_000, 2_005)
        await take_all(service)
        await ask_again(service)
        assert await rung(service) == ["log_contradicted"] and await signed_sizes(service) == [3]
        [row] = await query(service, "SELECT * FROM log_witnesses")
        assert row["said"].startswith("status 422") and row["failures"] == 2
        assert len(await query(service, "SELECT 1 WHERE now() < (SELECT ask_at FROM log_witnesses)")) == 1


async def test_a_witness_signs_what_it_missed_in_order(process: Service, settings: Settings, tmp_path: Path) -> None:
    """So that every statement's first checkpoint has its signature."""
    for first, last in ((0, 1), (1, 2), (2, 4), (4, 300)):
        await state(process, first, last)
        await take_all(process)
    sizes = [row["size"] for row in await query(process, "SELECT size FROM log_checkpoints ORDER BY size")]
    async with witness(tmp_path / "w") as running, watched(settings, running.setting) as service:
        await ask_all(service)
        assert await signed_sizes(service) == sizes
        assert await service.witnessing.due() == []
        await running.kill()
        running.state.write_text("{}")
        await running.start()
        await state(service, 300, 301)
        await take_all(service)
        await ask_all(service)
        assert await signed_sizes(service) == [*sizes, 301], "one that has lost its state begins again"


@asynccontextmanager
async def bad(does: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await does(reader, writer)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def stranger(name: str) -> str:
    """The public key of a witness that nobody has."""
    key = b"\x04" + hashlib.sha256(name.encode()).digest()
    number = hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8]
    return f"{name}+{number}+{base64.b64encode(key).decode()}"


async def test_a_witness_that_is_silent_holds_up_no_other(process: Service, settings: Settings, tmp_path: Path) -> None:
    """By the worker's own job; what is wrong is said once."""

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def refuses(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n")

    await state(process, 0, 1)
    await take_all(process)
    async with bad(silent) as silence, bad(refuses) as refusal, witness(tmp_path / "w") as running:
        strangers = (f"{stranger('a')} {silence}", f"{stranger('b')} {refusal}")
        async with watched(settings, *strangers, running.setting) as service:
            context: dict[str, Any] = {"service": service, "lasting": Lasting(), "said": Said()}
            began = monotonic()
            with capture_logs() as logs:
                for upto in (1, 2, 3):
                    if upto > 1:
                        await state(service, upto - 1, upto)
                        await take_all(service)
                        await tamper(service, "UPDATE log_witnesses SET ask_at = now() WHERE witness LIKE 'b+%%'")
                    while await signed_sizes(service) != list(range(1, upto + 1)):
                        await witness_job(context)
                        await asyncio.sleep(0.02)
            assert monotonic() - began < 6
            await context["lasting"].end()
            said = [line["said"] for line in logs if line["event"] == "witness_not_signed"]
            assert said == ["status 503"]
            await tamper(service, "UPDATE log_witnesses SET since = since - interval '2 hours'")
            await tamper(service, "UPDATE log_checkpoints SET signed_at = signed_at - interval '2 hours'")
            assert await rung(service) == ["witness_silent", "witness_silent"]


async def test_a_log_of_a_new_name_is_another_log_for_its_witnesses(
    process: Service, settings: Settings, tmp_path: Path
) -> None:
    """That is the way out where the old one has forked: both keys sign, the new one is the first."""
    await state(process, 0, 2)
    await take_all(process)
    new = new_key("PeterNeumann/2")
    both = msgspec.structs.replace(settings, statement_key=f"{new} {settings.statement_key}")
    async with watched(both) as second:
        public = str(second.signing._signers[0].verifier)
    async with witness(tmp_path / "w", log=public) as running, watched(both, running.setting) as service:
        await ask_all(service)
        assert await signed_sizes(service) == []
        await state(service, 2, 3)
        await take_all(service)
        await ask_again(service)
        assert await signed_sizes(service) == [3]


@pytest.mark.parametrize("processes", [4])
async def test_processes_that_ask_at_once_lease_a_witness_once(
    process: Service, settings: Settings, processes: int
) -> None:
    await state(process, 0, 1)
    await take_all(process)
    async with watched(settings, f"{stranger('a')} http://127.0.0.1:9") as service:
        found = await asyncio.gather(*(service.witnessing.due() for _ in range(processes)))
        assert sorted(map(len, found)) == [0] * (processes - 1) + [1]
