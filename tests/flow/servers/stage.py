"""What the tests of the start check share."""

import pytest

from clock.config import BadSetting, Settings
from clock.runtime.start_check import start_check


async def refusal(settings: Settings) -> str:
    """The sentence with which the start check refuses the servers of the settings."""
    with pytest.raises(BadSetting) as refused:
        await start_check(settings)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


def as_role(url: str, role: str, database: str = "") -> str:
    """The same address with the user ``role``, whose password is its name; Postgres: in another database."""
    scheme, _, rest = url.partition("://")
    host, _, path = rest.rpartition("@")[2].partition("/")
    return f"{scheme}://{role}:{role}@{host}/{database or path}"
