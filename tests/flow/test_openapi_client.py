"""A client that a generator makes from the kept document works with the real service; so do calls to the platform."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clock.channels import BillLine
from tests import document
from tests.conftest import Api, at
from tests.flow.stage import Sandbox, bill, lines_of, sandbox

ORDER = "TTC0eb00000000001yUTrR3KipTq7"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package with a client that was generated from the document."""
    (tmp_path / "generator.yml").write_text("post_hooks: []\n")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(document.FILE)]
    command += ["--config", str(tmp_path / "generator.yml"), "--meta", "none", "--fail-on-warning"]
    command += ["--output-path", str(tmp_path / "generated_client")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    monkeypatch.syspath_prepend(tmp_path)
    return "generated_client"


def call(package: str, path: str) -> Any:
    return importlib.import_module(f"{package}.api.{path}")


async def test_a_generated_client_plays(client: str, api: Api) -> None:
    models, made = importlib.import_module(f"{client}.models"), importlib.import_module(f"{client}.client")
    api.service.time.stop_at(at("20:00"))
    token = api.service.tokens.issue(7)
    user = made.AuthenticatedClient(base_url=api.url, token=token)
    extra = models.Extra(mobile="13800000007", nickname="seven", open_id="open-7")
    join = call(client, "players.join").asyncio
    ordered = await join(client=user, body=models.JoinRequest(uid=7, extra=extra))
    assert isinstance(ordered, models.JoinDone)
    assert (ordered.code, ordered.data.amount) == ("ordered", 100)
    await api.pay(ordered.data.order_no, 7)
    again = await join(client=user, body=models.JoinRequest(uid=7, extra=extra))
    assert isinstance(again, models.JoinRefused)
    assert again.code == "already_joined"
    api.service.time.stop_at(at("06:00", 1))
    checked_in = await call(client, "players.check_in").asyncio(client=user, body=models.CheckInRequest(uid=7))
    assert isinstance(checked_in, models.CheckInDone)
    assert checked_in.data.money == 100
    stranger = made.AuthenticatedClient(base_url=api.url, token="nobody")
    refused = await call(client, "players.me").asyncio(client=stranger)
    assert isinstance(refused, models.Unauthenticated)


def test_every_module_of_a_generated_client_can_be_imported(client: str, tmp_path: Path) -> None:
    modules = [path.relative_to(tmp_path).with_suffix("") for path in sorted((tmp_path / client).rglob("*.py"))]
    assert len(modules) > 150
    for module in modules:
        importlib.import_module(".".join(module.parts))


class Overheard(Sandbox):
    """The channel; each call and the platform's reply must be in the document."""

    async def _send(self, action: str, **body: Any) -> tuple[int, bytes]:
        status, raw = await super()._send(action, **body)
        document.check_sent(action, {"action": action, **body}, status, msgspec.json.decode(raw))
        return status, raw


async def test_calls_to_the_platform_and_its_replies_are_in_the_document(tmp_path: Path) -> None:
    async with sandbox(tmp_path / "books.sqlite") as channel:
        channel.__class__ = Overheard
        assert (await channel.query_order(ORDER)).state == "unpaid"
        bill(channel, ORDER, "T1", 7)
        assert (await channel.query_order(ORDER)).state == "paid"
        assert (await channel.close_order("TTCother")).state == "closed"
        assert (await channel.query_refund("R1", "O1")).state == "not_found"
        assert (await channel.refund("R1", ORDER, "T1", 100, 100)).state == "done"
        assert (await channel.refund("R2", ORDER, "T1", 100, 100)).state == "failed"
        assert (await channel.query_refund("R1", "O1")).state == "done"
        assert (await channel.transfer("P202611227", "open-7", 157)).state == "done"
        assert (await channel.query_transfer("P202611227")).state == "done"
        lines = await lines_of(channel, "2026-11-22")
        assert lines and isinstance(lines[0], BillLine)
        sent = {"action": "bill", "day": "2026-11-22"}
        raw = msgspec.json.encode(sent)
        async with channel._calls.long("POST", f"{channel._url}/bill", raw, channel._signatures.sign(raw)) as reply:
            document.check_sent("bill", sent, reply.status, await reply.json())
        asked = set(channel.asked)
    events = {name for name in document.kept()["webhooks"] if "." in name}
    assert asked == document.kept()["webhooks"].keys() - events
