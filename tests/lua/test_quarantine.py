"""quarantine: keeps what failed a check, counted, in its own bytes."""

import asyncio
import base64

from clock.game.events import Quarantined
from clock.game.scripts import Value
from tests.lua.stage import EVENING, Stage


def row(reason: str, order_no: str = "TTC1", raw: bytes = b"{}") -> dict[str, Value]:
    return {"channel": "platform", "reason": reason, "order_no": order_no, "raw_base64": base64.b64encode(raw)}


async def test_each_callback_is_kept_and_counted(stage: Stage) -> None:
    raw = bytes(range(256))
    assert await stage.call("quarantine", row("amount_mismatch", raw=raw), row("malformed", "")) == ["quarantined"] * 2
    assert await stage.totals() == {"quarantined": 2}
    text = base64.b64encode(raw).decode()
    assert await stage.new_events() == [
        Quarantined(EVENING, [("platform", "amount_mismatch", "TTC1", text), ("platform", "malformed", "", "e30=")])
    ]


async def test_the_same_callback_again_is_kept_again(stage: Stage) -> None:
    """Here nothing is known of the first; the books keep one row of equal ones."""
    for _ in range(2):
        assert await stage.call("quarantine", row("malformed")) == ["quarantined"]
    assert await stage.totals() == {"quarantined": 2}
    assert len(await stage.events()) == 2


async def test_the_state_of_the_round_does_not_matter(stage: Stage) -> None:
    await stage.bring("M", "void")
    assert await stage.call("quarantine", row("malformed")) == ["quarantined"]
    assert len(await stage.events()) == 1


async def test_none_of_many_simultaneous_callbacks_is_lost(stage: Stage) -> None:
    await asyncio.gather(*(stage.call("quarantine", row("malformed", f"TTC{i}")) for i in range(40)))
    assert await stage.totals() == {"quarantined": 40}
    kept = [event.rows[0][2] for event in await stage.events() if isinstance(event, Quarantined)]
    assert sorted(kept) == sorted(f"TTC{i}" for i in range(40))


async def test_a_full_vector_of_256_callbacks(stage: Stage) -> None:
    rows = [row("malformed", f"TTC{i}", b"x" * 1_000) for i in range(256)]
    assert await stage.call("quarantine", *rows) == ["quarantined"] * 256
    event = (await stage.events())[0]
    assert isinstance(event, Quarantined)
    assert [kept[2] for kept in event.rows] == [f"TTC{i}" for i in range(256)]
    assert await stage.totals() == {"quarantined": 256}
