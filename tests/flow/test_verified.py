"""The verifier and the service agree: rounds that are played are verified over HTTP, as anybody would."""

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clock import verifier
from clock.config import Settings
from tests.conftest import DAY, Api, serving
from tests.flow.settlement.stage import (
    AFTER,
    BEFORE,
    CROWD,
    RICH,
    Crowd,
    opened_by_an_earlier_version,
    play,
    settled,
    stop,
)
from tests.flow.tlog.stage import take_all


async def verified(api: Api, day: date, *more: str) -> int:
    """Every statement is in the log, as a worker would have taken it."""
    await take_all(api.service)
    return await asyncio.to_thread(verifier.main, [day.isoformat(), "--from", api.url, *more])


async def receipts(api: Api, place: Path, day: date, uids: range) -> list[str]:
    """Files with every leaf that these users have."""
    files: list[str] = []
    for uid in uids:
        for kind in ("stake", "checked_in", "packet"):
            status, reply = await api.send("GET", f"/api/rounds/{day}/proof/{kind}", headers=api.token(uid))
            assert status == 200
            if reply["status"]:
                path = place / f"{uid}-{kind}.json"
                path.write_bytes(msgspec.json.encode(reply))
                files += ["--receipt", str(path)]
    return files


async def test_rounds_are_what_was_promised(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules: dict[str, Any] = {**RICH, "split": "random"}
    async with serving(msgspec.structs.replace(settings, **rules)) as api:
        service = api.service
        await settled(service, BEFORE, Crowd(sleepers=3))
        await play(service, DAY, CROWD)
        saved = str(tmp_path / "open.json")
        assert await verified(api, DAY, "--save", saved) == 2
        assert f"What follows from the end of {DAY}: it is checking_in" in capsys.readouterr().out
        stop(service, DAY, "08:05")
        assert await service.settling.settle(DAY) == "settled"
        files = await receipts(api, tmp_path, DAY, CROWD.everybody)
        assert len(files) == 2 * (9 + 4 + 4)
        assert await verified(api, DAY, "--seen", saved, *files) == 0, capsys.readouterr().out
        said = capsys.readouterr().out
        for word in ("chain", "carried", "windows", "closing", "members", "money", "drawn", "packets", "list", "seen"):
            assert f"yes         {word} " in said
        await play(service, AFTER, Crowd(winners=1))
        assert await service.voiding.void(AFTER, "rain") == "ok"
        assert await verified(api, AFTER, "--days", "3") == 0, capsys.readouterr().out
        assert f"V of {AFTER} has the hash of O of {AFTER}" in capsys.readouterr().out


async def test_a_longer_check_in_and_a_round_without_statements(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(msgspec.structs.replace(settings, shards=2)) as api:
        service = api.service
        await service.opener.open_round(BEFORE)
        await opened_by_an_earlier_version(service, BEFORE)
        await settled(service, BEFORE, Crowd(winners=2, sleepers=1))
        assert await verified(api, BEFORE) == 2
        said = capsys.readouterr().out
        assert "yes         packets     2 packets, 100 fen, follow from the drawn seed" in said
        await play(service, DAY, CROWD)
        assert await service.extending.extend(DAY, 7, "fog", "anna") == "extended"
        stop(service, DAY, "08:12")
        assert await service.settling.settle(DAY) == "settled"
        assert await verified(api, DAY) == 0, capsys.readouterr().out
        assert "yes         closing " in capsys.readouterr().out
