"""docs/events.md says what is sent, and its receiver works."""

import re
from pathlib import Path
from typing import Any

import msgspec

from clock.channels.webhooks import Signatures
from clock.domain.webhooks import TYPES
from tests.conftest import WEBHOOK_SECRET

PAGE = (Path(__file__).parents[3] / "docs" / "events.md").read_text("utf-8")


def test_every_type_has_an_example_of_its_shape() -> None:
    shown = []
    for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        names = part.partition("\n")[0].split(", ")
        examples = re.findall(r"^```json\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
        for name, example in zip(names, examples, strict=True):
            msgspec.json.decode(example, type=TYPES[name])
            assert set(msgspec.json.decode(example)) == set(TYPES[name].__struct_fields__), name
            shown.append(name)
    assert sorted(shown) == sorted(TYPES)
    assert set(re.findall(r"^\| `(\w+\.\w+)` \|", PAGE, re.MULTILINE)) == set(TYPES)


def test_the_receiver_that_is_shown_verifies_and_takes_each_once() -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    stored: list[Any] = []
    seen: set[str] = set()
    raw = b'{"type": "round.closed"}'
    headers = Signatures(WEBHOOK_SECRET).sign(raw, "event_1")
    for body, status in ((raw, 204), (raw, 204), (raw + b" ", 401)):
        assert names["receive"](WEBHOOK_SECRET, headers, body, seen, stored.append) == status
    assert stored == [{"type": "round.closed"}]
