"""A round that has all of it: a beacon, a witness that is another process, and receipts that players were given over
HTTP. The verifier leaves nothing open but what nobody can prove."""

import asyncio
from datetime import date
from pathlib import Path

import msgspec
import pytest

from clock import verifier
from clock.config import Settings
from clock.service import Service
from tests.conftest import Api, serving
from tests.flow.receipts.stage import callback
from tests.flow.settlement.drawn import Relay, relay
from tests.flow.settlement.stage import stop
from tests.flow.tlog.stage import LOG_KEY, Running, ask_all, take_all, witness
from tests.model.model import instant

DAY = date(2060, 11, 22)
"""A witness signs by the real clock, and has to sign before the draw."""

AWAKE, ASLEEP = range(1, 8), range(8, 11)


async def witnessed(service: Service) -> None:
    await take_all(service)
    await ask_all(service)


def kept(place: Path, name: str, receipt: object) -> list[str]:
    """As a player keeps it, and gives it to the verifier."""
    file = place / f"{name}.json"
    file.write_bytes(msgspec.json.encode(receipt))
    return ["--receipt", str(file)]


async def evening_and_morning(api: Api, place: Path) -> list[str]:
    """Everything until check-in has closed; the receipts."""
    service, files = api.service, []
    service.time.stop_at(instant(DAY, "20:00"))
    await service.opener.open_round(DAY)
    await witnessed(service)
    for uid in (*AWAKE, *ASLEEP):
        number = (await api.join(uid))["data"]["order_no"]
        files += kept(place, f"stake-{uid}", (await callback(api, number, uid))["data"]["receipt"])
    stop(service, DAY, "05:00")
    await api.post("/api/check-in/status", AWAKE[0])
    for reply in await asyncio.gather(*(api.post("/api/check-in", uid, receipt=True) for uid in AWAKE)):
        files += kept(place, f"awake-{len(files)}", reply["data"]["receipt"])
    stop(service, DAY, "08:00", 5_000)
    return files


def settings_with(settings: Settings, beacon: Relay, seer: Running) -> Settings:
    return msgspec.structs.replace(settings, shards=2, witnesses=seer.setting, **beacon.settings)


async def verified(api: Api, beacon: Relay, seer: Running, place: Path, *more: str) -> int:
    chain = place / "chain.json"
    chain.write_text(beacon.double.info)
    trust = ("--keys", LOG_KEY, "--witness", seer.key, "--chain", str(chain))
    return await asyncio.to_thread(verifier.main, [DAY.isoformat(), "--from", api.url, "--days", "1", *trust, *more])


async def test_a_round_with_everything_leaves_nothing_open(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        relay() as beacon,
        witness(tmp_path / "w") as seer,
        serving(settings_with(settings, beacon, seer)) as api,
    ):
        service = api.service
        files = await evening_and_morning(api, tmp_path)
        assert len(files) == 2 * (10 + 7)
        assert await service.settling.settle(DAY) == "not_due"
        await witnessed(service)
        stop(service, DAY, "08:05")
        assert await service.settling.settle(DAY) == "settled"
        await witnessed(service)
        assert await verified(api, beacon, seer, tmp_path, *files) == 0, capsys.readouterr().out
        said = capsys.readouterr().out
        for word in ("beacon", "draw", "logged", "witnesses", "receipt", "drawn", "packets"):
            assert f"yes         {word}" in said, said
        assert "no          " not in said
