"""Money goes out once under a number, and is billed; a kill loses nothing of it."""

import signal
from pathlib import Path
from typing import Any

import msgspec

from clock.channels import BillLine
from clock.runtime.ports import free_port
from tests.conftest import at
from tests.flow.sandbox.stage import AT, DAY_OF_AT, Sandbox, listening, sandbox_for
from tests.flow.stage import lines_of

STRANGER = "whsec_" + "YSBzZWNyZXQgdGhhdCBub2JvZHkgd2FzIGdpdmVuLi4="


# -- money out


async def test_a_number_moves_money_once_and_for_one_thing_only(sandbox: Sandbox) -> None:
    done = (200, {"state": "done", "reason": ""})
    assert [await sandbox.transfer("P1") for _ in range(3)] == [done] * 3
    assert await sandbox.ask("query_transfer", transfer_no="P1") == done
    conflict = (200, {"state": "failed", "reason": "the number was used for something else"})
    assert await sandbox.transfer("P1", amount=101) == conflict
    assert await sandbox.ask("transfer", transfer_no="P1", openId="open-2", amount=100) == conflict
    assert await sandbox.transfer("P1") == done
    assert [line.amount_fen for line in await sandbox.lines() if line.no == "P1"] == [100]
    assert (await sandbox.ask("query_transfer", transfer_no="P-unheard"))[0] == 404
    assert (await sandbox.ask("query_refund", refund_no="R-unheard"))[0] == 404


async def test_no_more_is_refunded_than_was_paid(sandbox: Sandbox) -> None:
    await sandbox.pay("B1")
    assert (await sandbox.refund("R1", "B1", 60))[1]["state"] == "done"
    assert (await sandbox.refund("R1", "B1", 60))[1]["state"] == "done"
    more = {"state": "failed", "reason": "more than was paid"}
    assert (await sandbox.refund("R2", "B1", 41))[1] == more
    assert (await sandbox.refund("R1", "B1", 61))[1]["state"] == "failed"
    assert (await sandbox.refund("R3", "B1", 40))[1]["state"] == "done"
    for number, order, transaction in (("R4", "B-unpaid", ""), ("R5", "B1", "SB-other")):
        assert (await sandbox.refund(number, order, 1, transaction))[1]["reason"] == "no such payment"
    assert (
        sum(line.amount_fen for line in await sandbox.lines() if line.kind == "refund" and line.order_no == "B1") == 100
    )


async def test_the_bill_has_every_movement_of_its_day_and_nothing_else(sandbox: Sandbox) -> None:
    await sandbox.pay("C1", buyerId="open-7")
    await sandbox.pay("C2", at_ms=at("23:59") + 59_999)
    await sandbox.pay("C3", at_ms=at("00:00", 1))
    await sandbox.refund("RC1", "C1", 30)
    await sandbox.transfer("PC1", 70)
    own = {"SC10", "SC20", "SC30", "RC1", "PC1", "PC2"}
    payments = {line.no: line for line in await lines_of(sandbox.channel, DAY_OF_AT) or [] if line.kind == "payment"}
    assert own & payments.keys() == {"SC10", "SC20"}
    assert payments["SC10"] == BillLine("payment", "SC10", "C1", 100, AT, "open-7")
    await sandbox.trouble(lapses=1, processing_ms=0)
    await sandbox.transfer("PC2")
    moved = {line.no: line for line in await sandbox.lines() if line.kind != "payment"}
    assert own & moved.keys() == {"RC1", "PC1"}  # what failed is not billed
    assert (moved["RC1"].order_no, moved["RC1"].amount_fen, moved["PC1"].amount_fen) == ("C1", 30, 70)
    assert await lines_of(sandbox.channel, "2019-01-01") == []


async def test_calls_that_are_not_signed_well_are_refused_and_do_nothing(sandbox: Sandbox) -> None:
    body: dict[str, Any] = {"transfer_no": "P-stranger", "openId": "open-1", "amount": 100}
    assert await sandbox.ask("transfer", secret="", **body) == (401, {"error": "bad signature"})
    assert (await sandbox.ask("transfer", secret=STRANGER, **body))[0] == 401
    # what was signed for one action is not good for another
    status, _ = await sandbox.ask("query_transfer", path="transfer", **body)
    assert status == 400
    assert (await sandbox.ask("query_transfer", transfer_no="P-stranger"))[0] == 404


# -- kill -9


async def test_what_was_promised_survives_a_kill(tmp_path: Path) -> None:
    port = free_port()
    async with sandbox_for(port, tmp_path) as sandbox:
        status, callback, _ = await sandbox.pay("D1")
        assert (status, callback) == (200, 0)  # nobody listens
        await sandbox.pay("D2")
        await sandbox.transfer("PD1", 70)
        await sandbox.refund("RD1", "D2")
        await sandbox.trouble(processing=1, processing_ms=1)
        await sandbox.transfer("PD2", 80)
        await sandbox.ask("close_order", order_no="D3")
        before = sorted(await sandbox.lines(), key=lambda line: line.no)
        assert await sandbox.end(signal.SIGKILL) == -signal.SIGKILL
        async with listening(port) as listener:
            await sandbox.start()
            await listener.wait_for(2)  # what nobody was told yet is told now
            assert {msgspec.json.decode(raw)["order_no"] for raw, _ in listener.got} == {"D1", "D2"}
        after = sorted(await sandbox.lines(), key=lambda line: line.no)
        assert [line for line in after if line.no != "PD2"] == [line for line in before if line.no != "PD2"]
        assert "PD2" in {line.no for line in after}
        assert (await sandbox.transfer("PD1", 70))[1]["state"] == "done"
        assert (await sandbox.transfer("PD1", 71))[1]["state"] == "failed"
        assert (await sandbox.pay("D3"))[0] == 409
        assert await sandbox.end(signal.SIGTERM) == 0
