"""Anybody can mirror the log, and finds in it every statement that is public."""

from typing import Any

import pytest

from tests.conftest import DAY, Api
from tests.flow.settlement.stage import CROWD, play, settle_until, stop
from tests.flow.tlog.mirror import Mirror
from tests.flow.tlog.stage import LOG_KEY, query, state, take_all, text_of


async def test_a_mirror_made_by_plain_gets_has_the_root_and_every_statement(api: Api) -> None:
    mirror = Mirror(api.session, f"{api.url}/log")
    assert (await mirror.get("checkpoint"))[0] == 404
    written = 0
    for upto in (1, 3, 255, 256, 257, 600):
        await state(api.service, written, upto)
        await take_all(api.service)
        read, texts = await mirror.whole([LOG_KEY])
        assert (read.origin, read.size, read.signed_by) == ("PeterNeumann", upto, ["PeterNeumann"])
        assert texts == [text_of(number) for number in range(upto)]
        written = upto
    for width in (1, 3, 255):
        assert len((await mirror.get(f"tile/0/000.p/{width}"))[1]) == 32 * width, "earlier sizes are still there"
    assert mirror.kept == {"public, max-age=31536000, immutable"}


NOWHERE = [
    *("0/000.p/256", "0/000.p/0", "0/000.p/01", "0/0", "0/0000", "0/x000/000", "0/x001/000", "0/003", "1/000"),
    *("0/002.p/89", "1/000.p/3", "2/000.p/1", "8/000", "64/000", "-1/000", "00/000", "0/", "0", "", "0/000.p"),
    *("entries/002.p/89", "entries/x000/000", "entries", "entry/000", "0/000/", "0/x9/000"),
    *("0/x001/x000/000", "0/000.p/1/1", "0/000.p/"),
]


async def test_nothing_else_is_a_file_of_the_log(api: Api) -> None:
    """Another spelling would be another file for every cache."""
    await state(api.service, 0, 600)
    await take_all(api.service)
    mirror = Mirror(api.session, f"{api.url}/log")
    found = {path: (await mirror.get(f"tile/{path}"))[0] for path in ["0/000", "1/000.p/2", "0/002.p/88", *NOWHERE]}
    assert {path for path, status in found.items() if status == 200} == {"0/000", "1/000.p/2", "0/002.p/88"}
    assert set(found.values()) == {200, 404}


@pytest.mark.parametrize("reached", ["split", "published"])
async def test_p_is_in_the_log_before_it_is_public(api: Api, monkeypatch: pytest.MonkeyPatch, reached: str) -> None:
    """Its hash is there, its text, which has the seed, is not; what is after it waits, too."""
    service = api.service
    mirror = Mirror(api.session, f"{api.url}/log")
    await play(service, DAY, CROWD)
    await take_all(service)
    stop(service, DAY, "08:05")
    await settle_until(service, monkeypatch, reached)
    await take_all(service)
    await state(service, 0, 1)
    await take_all(service)
    sizes = [row["size"] for row in await query(service, "SELECT size FROM log_checkpoints ORDER BY size")]
    [place] = await query(service, "SELECT index FROM log_entries WHERE kind = 'published'")
    size = place["index"]
    assert sizes[-1] > size + 1
    read, texts = await mirror.whole([LOG_KEY])
    assert read.size <= size and not any("seed: " in text for text in texts)
    for last in (size + 1, sizes[-1]):
        assert (await mirror.get(f"tile/entries/000.p/{last}"))[0] == 404
        status, tile = await mirror.get(f"tile/0/000.p/{last}")
        assert (status, len(tile)) == (200, 32 * last)
    async with api.session.get(f"{api.url}/log/tile/entries/000.p/{last}") as reply:
        assert reply.headers["cache-control"] == "no-store", "it will be there"
    shown = (await api.send("GET", f"/api/rounds/{DAY}/proof"))[1]["data"]
    assert shown["statements"]["published"] is shown["logged"]["published"] is None
    assert await service.settling.settle(DAY) == "settled"
    read, texts = await mirror.whole([LOG_KEY])
    assert read.size == sizes[-1] and "seed: " in texts[size]


@pytest.mark.parametrize("path", ["tile/entries/000.p/4", "checkpoint"])
async def test_p_is_not_read_while_it_is_taken_into_the_log(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Between one query and the next one."""
    service = api.service
    await play(service, DAY, CROWD)
    await take_all(service)
    stop(service, DAY, "08:05")
    await settle_until(service, monkeypatch, "split")
    find = service.store.page

    async def slowly(query: str, **parameters: Any) -> list[dict[str, Any]]:
        found = await find(query, **parameters)
        await take_all(service)
        return found

    monkeypatch.setattr(service.store, "page", slowly)
    mirror = Mirror(api.session, f"{api.url}/log")
    status, text = await mirror.get(path)
    assert (await query(service, "SELECT index FROM log_entries WHERE kind = 'published'")) == [{"index": 3}]
    assert status == 404 or text.split(b"\n")[1] == b"2"
    assert (await mirror.whole([LOG_KEY]))[0].size == 2
