"""A round that has all of it: a beacon, a witness that is another process, and receipts that players were given over
HTTP. The verifier leaves nothing open but what nobody can prove."""

import asyncio
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from clock import verifier
from clock.books.months import Month
from clock.config import Settings
from clock.fair.notes import new_key, signers_of
from clock.service import Service
from tests.conftest import STATEMENT_KEY, Api, serving
from tests.flow.archive.stage import restore, take
from tests.flow.receipts.stage import callback
from tests.flow.settlement.drawn import Relay, relay
from tests.flow.settlement.stage import Crowd, play, stop
from tests.flow.tlog.stage import LOG_KEY, Running, ask_all, query, take_all, witness
from tests.model.model import instant
from tests.model.world import service_with

DAY = date(2060, 11, 30)
"""A witness signs by the real clock, and has to sign before the draw. The round after it is of another month."""

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


async def verified(api: Api, beacon: Relay, seer: Running | None, place: Path, *more: str, day: date = DAY) -> int:
    """By who trusts the key and the witness of that day; without a witness, whatever the service names."""
    chain = place / "chain.json"
    chain.write_text(beacon.double.info)
    trust = ["--keys", LOG_KEY, "--witness", seer.key] if seer else []
    asked = ["--from", api.url, "--days", "1", "--chain", str(chain), *trust, *more]
    return await asyncio.to_thread(verifier.main, [day.isoformat(), *asked])


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


async def month_is_over(service: Service) -> None:
    """The round's keys expire, its payouts have arrived, and its books were compared; nobody has played before it."""
    service.time.stop_at(instant(DAY + timedelta(2), "00:00"))
    assert await service.finishing.finish(DAY)
    for statement in (
        "UPDATE rounds SET state = 'void', finished_at = now() WHERE day < %s",
        "UPDATE rounds SET tallied_at = now(), credited_at = now() WHERE day = %s",
        "UPDATE outgoing SET state = 'done' WHERE day = %s",
        "INSERT INTO reconciliations (day, at, differences, mended) SELECT day, now(), '[]', '[]' FROM rounds"
        " WHERE day <= %s",
    ):
        await query(service, statement, DAY)


async def test_a_round_of_long_ago_is_proved_as_on_its_day(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its month has left, its key was rotated twice, its witness has retired; with its month the leaves come back. The
    round after it was opened by one key and closed by another."""
    month, after = Month.of(DAY), DAY + timedelta(1)
    second, third = new_key("PeterNeumann"), new_key("PeterNeumann")
    async with relay() as beacon, witness(tmp_path / "w") as seer:
        settings = msgspec.structs.replace(settings_with(settings, beacon, seer), keep_months=-1_000)
        async with serving(settings) as api:
            files = await evening_and_morning(api, tmp_path)
            assert await api.service.settling.settle(DAY) == "not_due"
            await witnessed(api.service)
            stop(api.service, DAY, "08:05")
            assert await api.service.settling.settle(DAY) == "settled"
            _, path = await api.send("GET", f"/api/rounds/{DAY}/proof/stake", headers=api.token(AWAKE[0]))
            await play(api.service, after, Crowd(winners=1))
            await witnessed(api.service)
            await month_is_over(api.service)
        both = msgspec.structs.replace(settings, statement_key=f"{second} {STATEMENT_KEY}", witnesses="")
        async with service_with(both, env="dev") as service:
            stop(service, after, "08:00", 5_000)
            assert await service.settling.settle(after) == "not_due"
        async with serving(msgspec.structs.replace(both, statement_key=third)) as api:
            stop(api.service, after, "08:05")
            assert await api.service.settling.settle(after) == "settled"
            await take_all(api.service)
            taken = await take(api.service, month)
            assert taken.word == "month_archived", taken.data
            assert await verified(api, beacon, seer, tmp_path) == 0, capsys.readouterr().out
            assert await verified(api, beacon, None, tmp_path) == 0, capsys.readouterr().out
            assert f"C of {DAY} was seen by {seer.name}" in capsys.readouterr().out
            assert await verified(api, beacon, seer, tmp_path, *files) == 2
            assert "C of 2060-11-30 may have it or not: the service says archived" in capsys.readouterr().out
            own = kept(tmp_path, "path", path)
            assert await verified(api, beacon, seer, tmp_path, *files[:2], *own) == 0, capsys.readouterr().out
            assert (await restore(api.service, month)).word == "month_restored"
            assert await verified(api, beacon, seer, tmp_path, *files) == 0, capsys.readouterr().out
            keys = [arg for key in (second, third) for arg in ("--keys", str(signers_of(key)[0].verifier))]
            assert await verified(api, beacon, seer, tmp_path, "--days", "2", *keys, day=after) == 2
            said = capsys.readouterr().out
            assert "C and V are one chain of 2" in said and "no          " not in said
            assert f"When C of {after} was made: no witness that counts has seen it" in said
