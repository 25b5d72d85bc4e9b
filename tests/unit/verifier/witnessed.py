"""The operator's log of statements, and witnesses who have seen its checkpoints, written from ``docs/fair.md``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.unit.verifier.forms import KEY, ORIGIN, cosignature_line, note_of, path_of, tree_of, verifier_key
from tests.unit.verifier.stage import Played

SEER = Ed25519PrivateKey.from_private_bytes(bytes(range(96, 128)))
WITNESS = verifier_key(SEER, "witness.example.org/w1", 4)

KINDS = ("opened", "closed", "void", "published")


@dataclass
class Log:
    """``seen_s``: by kind of statement, at another time than an honest witness has; None: it is silent. ``more``: what
    is in the log before the statements."""

    key: Ed25519PrivateKey = KEY
    name: str = ORIGIN
    witness: Ed25519PrivateKey | None = SEER
    seen_s: Mapping[str, int | None] = field(default_factory=dict)
    more: Sequence[str] = ("an earlier one\n",)
    kinds: Sequence[str] = KINDS

    def checkpoint(self, entries: Sequence[str], at_s: int | None) -> str:
        size, root = tree_of(entries).split(" ")
        text = f"{self.name}\n{size}\n{root}\n"
        line = "" if self.witness is None or at_s is None else cosignature_line(text, at_s, self.witness, NAME)
        return note_of(text, self.key, self.name) + line

    def publish(self, *rounds: Played) -> None:
        """From the last one given to the first."""
        entries = list(self.more)
        for played in reversed(rounds):
            logged: dict[str, Any] = dict.fromkeys(KINDS)
            for kind in self.kinds:
                if kind in played.texts:
                    entries.append(played.texts[kind])
                    at_s = self.seen_s.get(kind, seen_s(kind, played))
                    path = path_of(len(entries) - 1, [entry.encode() for entry in entries])
                    logged[kind] = {
                        "index": len(entries) - 1,
                        "size": len(entries),
                        "path": [step.hex() for step in path],
                        "checkpoint": self.checkpoint(entries, at_s),
                    }
            is_seen = self.witness is not None and self.seen_s.get("closed", 0) is not None
            played.proof["logged"] = logged
            played.proof["witnesses"] = [WITNESS] if self.witness else []
            missing = played.proof["missing"]
            played.proof["missing"] = [one for one in missing if one != "witnesses" or not is_seen]


NAME = WITNESS.partition("+")[0]


def seen_s(kind: str, played: Played) -> int:
    """When an honest witness sees it."""
    at = played.windows
    made = re.search(r"^(?:closed|voided)_ms: (\d+)$", played.texts[kind], re.MULTILINE)
    if made:
        return int(made[1]) // 1000 + 1
    return at["join_opens_ms"] // 1000 - 60 if kind == "opened" else at["settle_ms"] // 1000 + 2
