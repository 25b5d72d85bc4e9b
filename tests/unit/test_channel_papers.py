"""The tables of docs/wechat.md are those that decide, row by row; what docs/channels.md names exists."""

import re
from pathlib import Path

import pytest

from clock.channels import alipay, wechat
from clock.channels.wechat.answers import TABLES
from clock.config import FILE, PREFIX, variables

DOCS = Path(__file__).parents[2] / "docs"
WECHAT, CHANNELS = ((DOCS / name).read_text("utf-8") for name in ("wechat.md", "channels.md"))


@pytest.mark.parametrize("call", TABLES)
def test_a_table_of_the_paper_is_the_one_that_decides(call: str) -> None:
    part = WECHAT.partition(f"\n### `{call}`\n")[2].partition("\n#")[0]
    written = [tuple(cell.strip() for cell in row.split("|")[1:-1]) for row in re.findall(r"^\|.+\|$", part, re.M)[2:]]
    assert written == [
        (row.status, row.said and f"`{row.said}`", f"`{row.means}`", row.why + (". **Operator**" if row.alarm else ""))
        for row in TABLES[call]
    ]


def test_every_setting_of_the_channels_is_shown() -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", CHANNELS))
    settings = {name for name in variables() if name.startswith((PREFIX + "WECHAT_", PREFIX + "ALIPAY_"))}
    assert named <= variables()
    assert {name.removesuffix(FILE) for name in settings} <= {name.removesuffix(FILE) for name in named}


def test_limits_and_ways_to_pay_are_those_of_the_code() -> None:
    for endpoint, per_second in wechat.LIMITS.items():
        assert f"| `{endpoint}` | {per_second} |" in CHANNELS
    for how in {*wechat.WeChat.hows, *alipay.Alipay.hows}:
        assert f"`{how}`" in CHANNELS
    assert f"{wechat.WeChat.least_transfer_fen} fen" in CHANNELS
