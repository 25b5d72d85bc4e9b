"""A bill is decoded while it is read: whatever pieces it comes in, it has the same lines, or it is unreadable."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from clock.channels import BILLED, BillLine, lines, payment_billed, payment_kept
from clock.channels.lines import UnreadableLines, pages_of

NESTED = [{"a": "},{"}, {"b": [{"c": 1}, {"c": 2}]}]
"""What looks like the end of a line and is not."""


def line(number: int, **more: Any) -> dict[str, Any]:
    return {"kind": "payment", "no": f"T{number}", "order_no": "TTC1", "amount_fen": 100, "at_ms": number, **more}


def bill(count: int, head: str = "", tail: str = "", **more: Any) -> bytes:
    found = [line(number, **more) for number in range(count)]
    return b"{" + head.encode() + b'"lines" : ' + msgspec.json.encode(found) + tail.encode() + b" }"


async def in_pieces(raw: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), size):
        yield raw[start : start + size]


async def read(raw: bytes, size: int = 1_000) -> list[list[BillLine]]:
    return [page async for page in pages_of(in_pieces(raw, size))]


@pytest.mark.parametrize("size", [1, 37, 1_000, 1 << 20])
@pytest.mark.parametrize(
    ("head", "tail"),
    [
        ("", ""),
        (
            '"lines_of": {"lines": [1]}, "said": "\\"lines\\": [", ',
            ', "other": [' + '{"kind": "payment"},' * 50 + "{}]",
        ),
    ],
)
async def test_the_lines_are_the_same_in_pieces_of_any_size(
    monkeypatch: pytest.MonkeyPatch, size: int, head: str, tail: str
) -> None:
    monkeypatch.setattr(lines, "PIECE", 2_000)
    found = await read(b"\xef\xbb\xbf" + bill(100, head, tail, payer="早起 },{ \\", more=NESTED), size)
    assert [one.no for page in found for one in page] == [f"T{number}" for number in range(100)]
    assert {one.payer for page in found for one in page} == {"早起 },{ \\"}
    if size < 1 << 20:
        assert len(found) > 5


async def test_a_bill_may_have_no_line() -> None:
    assert await read(b'{"lines": []}') == await read(b' { "day": 1, "lines":\n[ ] } ', 1) == []


@pytest.mark.parametrize("lone", [b"\\ud83d", b"\xff"])
async def test_what_is_no_character_makes_no_line_unreadable(monkeypatch: pytest.MonkeyPatch, lone: bytes) -> None:
    monkeypatch.setattr(lines, "PIECE", 2_000)
    found = await read(bill(100, payer="LONE").replace(b"LONE", lone))
    assert {one.payer for page in found for one in page} == {"\ufffd"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"line": []}',
        b'{"lines": null}',
        bill(100)[:-3],
        bill(100).replace(b'"at_ms":97', b'"at_ms":"x"'),
        bill(100).replace(b',"at_ms":7}', b"}"),
        bill(100, tail=", more"),
        b'{"note": "' + b"x" * 20_000,
        bill(1, more="x" * 20_000),
    ],
)
async def test_what_is_not_a_bill_to_its_end_is_unreadable(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    monkeypatch.setattr(lines, "PIECE", 2_000)
    monkeypatch.setattr(lines, "MOST_PIECE", 10_000)
    with pytest.raises(UnreadableLines):
        await read(raw)


def test_a_payment_that_only_a_bill_had_can_be_read_again_years_later() -> None:
    """It waits in the quarantine among notifications, which their channels read."""
    line = BillLine("payment", "T1", "TTC1", 100, 7, "open-1")
    paid = payment_billed(line)
    assert (paid.order_no, paid.amount_fen, paid.transaction_id, paid.buyer, paid.paid_at_ms) == (
        *("TTC1", 100, "T1"),
        *("open-1", 7),
    )
    assert payment_kept(paid.kept) == paid
    for raw in (b"", b"{}", paid.kept.removeprefix(BILLED), paid.kept[:-1], BILLED):
        assert payment_kept(raw) is None, raw
