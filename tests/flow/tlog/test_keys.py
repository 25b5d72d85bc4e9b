"""A host whose statement key is not that of the others says so when it starts."""

import msgspec
from structlog.testing import capture_logs

from clock.config import Settings
from clock.fair.notes import new_key
from clock.runtime.start_check import start_check
from clock.service import Service
from tests.conftest import DAY, STATEMENT_KEY


async def unknown(settings: Settings, keys: str) -> list[list[str]]:
    """What a start with these keys says not to know."""
    with capture_logs() as said:
        await start_check(msgspec.structs.replace(settings, statement_key=keys))
    return [line["keys"] for line in said if line["event"] == "statement_key_unknown"]


async def test_a_key_that_has_never_signed_is_named_unless_a_known_one_stands_beside_it(
    settings: Settings, service: Service
) -> None:
    other = new_key("play.example.com/clock")
    assert await unknown(settings, other) == []  # nothing was signed yet
    await service.opener.open_round(DAY)
    assert await unknown(settings, STATEMENT_KEY) == []
    assert await unknown(settings, f"{other} {STATEMENT_KEY}") == []
    [[named]] = await unknown(settings, other)
    assert named.startswith("play.example.com/clock+") and other not in named
