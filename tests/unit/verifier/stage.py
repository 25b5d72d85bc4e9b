"""An operator who plays rounds and publishes them, written from ``docs/fair.md`` with nothing of the verifier's.

What a test changes in a statement, every later one is made for: as an operator would who wants to get away with it.
"""

import base64
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clock import verifier
from clock.beacon.chain import Chain
from clock.beacon.own import OwnKey
from clock.beacon.settings import description
from clock.domain.rounds import Rules, windows
from clock.domain.split import Split, split
from tests.unit.verifier.forms import (
    CHAIN,
    KEY,
    ORIGIN,
    RULES,
    as_json,
    asked,
    before,
    envelope,
    kind_and_uid,
    note_of,
    number_of,
    out_ms,
    path_of,
    root_of,
    sha256,
    tree_of,
    verifier_key,
    written,
)

DAY = "2026-11-26"
SEED = bytes(range(32, 64))
SALT_KEY = bytes(range(64, 96))


Changes = Mapping[str, Mapping[str, str]]
"""By kind of statement: lines that have other values than they should."""


@dataclass
class Played:
    """A round as it was published."""

    day: str
    texts: dict[str, str]
    answers: dict[str, Any]
    leaves: dict[str, list[str]]
    packets: list[int]
    carried_out_fen: int

    @property
    def figures(self) -> dict[str, Any]:
        data: dict[str, Any] = self.answers[f"/api/rounds/{self.day}"]["data"]
        return data

    @property
    def proof(self) -> dict[str, Any]:
        data: dict[str, Any] = self.answers[f"/api/rounds/{self.day}/proof"]["data"]
        return data

    @property
    def listed(self) -> dict[str, Any]:
        data: dict[str, Any] = self.answers[f"/api/rounds/{self.day}/packets?page=1&limit=10000"]["data"]
        return data

    @property
    def last_hash(self) -> str:
        """Of what the next statement C or V is made for."""
        return sha256(self.texts["void" if "void" in self.texts else "closed"].encode()).hex()

    def proved(self, kind: str, index: int) -> dict[str, Any]:
        """The service's answer of a leaf in the tree."""
        leaves = [leaf.encode() for leaf in self.leaves[kind]]
        path = [step.hex() for step in path_of(index, leaves)]
        root = base64.b64encode(root_of(leaves)).decode()
        return envelope(
            {"leaf": self.leaves[kind][index], "index": index, "size": len(leaves), "path": path, "root": root}
        )

    def receipt(self, kind: str, index: int, later_ms: int = 2, **changes: str) -> dict[str, Any]:
        """As it was handed out with an answer, in a batch of three leaves or fewer; ``changes`` of its lines."""
        leaves = self.leaves[kind][max(0, index - 1) : index + 2]
        place, leaf = min(index, 1), self.leaves[kind][index]
        at_ms = int(leaf.split("\n")[5]) if kind == "checked_in" else self.windows["join_opens_ms"]
        lines = {"origin": ORIGIN, "round": self.day, "signed_ms": str(at_ms + later_ms), "leaves": tree_of(leaves)}
        text = f"clock.receipts.v1/{kind}\n" + "".join(f"{k}: {v}\n" for k, v in {**lines, **changes}.items())
        path = [step.hex() for step in path_of(place, [one.encode() for one in leaves])]
        return {"leaf": leaf, "index": place, "size": len(leaves), "path": path, "note": note_of(text)}

    def asked_for(self, *receipts: dict[str, Any]) -> "Played":
        """Has answers to who asks for the leaves of these receipts."""
        for receipt in receipts:
            kind, uid = kind_and_uid(receipt["leaf"])
            places = [n for n, leaf in enumerate(self.leaves[kind]) if kind_and_uid(leaf)[1] == uid]
            no = envelope({}, "not_joined" if kind == "stake" else "not_checked_in")
            self.answers[asked(receipt["leaf"])] = self.proved(kind, places[0]) if places else no
        return self

    @property
    def windows(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.texts["opened"].partition("windows: ")[2].partition("\n")[0])
        return found


@dataclass
class Game:
    """What happened in a round, and how the operator publishes it."""

    day: str = DAY
    rules: dict[str, Any] = field(default_factory=lambda: dict(RULES))
    members: Sequence[Sequence[int]] = ((1, 2, 3, 4, 5), (6, 7, 8, 9))
    winners: Sequence[Sequence[int]] = ((3, 1, 5), (8, 6))
    late: Sequence[int] = (5, 9)
    seed: bytes = SEED
    previous: str = "none"
    carried_in_fen: int = 0
    longer_ms: Sequence[int] = (0, 0)
    extensions: Sequence[dict[str, Any]] = ()
    voided: bool = False
    closed: bool | None = None
    """Unless it is said: a round without a beacon cannot be void when it has C."""
    beacon: OwnKey | None = None
    says: str | None = None
    """What P says of the draw, whatever is true."""
    key: Ed25519PrivateKey = KEY
    name: str = ORIGIN
    changes: Changes = field(default_factory=dict)
    split_with: Callable[[bytes], bytes] = bytes
    """What the packets are drawn from, of the drawn seed."""

    def __post_init__(self) -> None:
        if self.closed is None:
            self.closed = not self.voided or self.beacon is not None

    def text(self, kind: str, lines: dict[str, str]) -> str:
        lines = {"origin": self.name, "round": self.day, **lines, **self.changes.get(kind, {})}
        return "".join([f"clock.statement.v1/{kind}\n", *(f"{name}: {value}\n" for name, value in lines.items())])

    def salt(self, kind: str, uid: int) -> str:
        return hmac.digest(SALT_KEY, f"{kind}\n{uid}\n".encode(), "sha256")[:16].hex()

    def stake_leaves(self) -> list[str]:
        head, stake = f"clock/leaf/v1 stake\n{self.day}\n", self.rules["stake_fen"]
        return [
            f"{head}{shard}\n{uid}\nTTC{uid:08}\n{stake}\n{self.salt('stake', uid)}\n"
            for shard, own in enumerate(self.members)
            for uid in own
        ]

    def check_in_leaves(self, opens_ms: int) -> list[str]:
        head = f"clock/leaf/v1 checked_in\n{self.day}\n"
        return [
            f"{head}{shard}\n{rank}\n{uid}\n{opens_ms + 1000 * rank}\n{self.salt('checked_in', uid)}\n"
            for shard, own in enumerate(self.winners)
            for rank, uid in enumerate(own, 1)
        ]

    def packet_leaves(self, packets: Sequence[int]) -> list[str]:
        places = [(shard, rank) for shard, own in enumerate(self.winners) for rank in range(1, len(own) + 1)]
        return [
            f"clock/leaf/v1 packet\n{self.day}\n{shard}\n{rank}\n{fen}\n"
            for (shard, rank), fen in zip(places, packets, strict=True)
        ]

    def sums(self) -> dict[str, int]:
        stake, bonus = self.rules["stake_fen"], self.rules["bonus_fen"]
        members, winners = sum(map(len, self.members)), sum(map(len, self.winners))
        won = {uid for own in self.winners for uid in own}
        refunded = len(set(self.late) - won)
        if not winners and self.rules["nobody"] == "refund":
            refunded = members
        forfeited = (members - winners - refunded) * stake
        fee = forfeited * self.rules["fee_bps"] // 10_000
        return {
            "members": members,
            "winners": winners,
            "late": len(self.late),
            "pool_fen": members * stake,
            "refunded_fen": refunded * stake,
            "forfeited_fen": forfeited,
            "fee_fen": fee,
            "carried_in_fen": self.carried_in_fen,
            "bonus_fen": bonus,
            "pot_fen": forfeited - fee + self.carried_in_fen + bonus,
        }

    def play(self) -> Played:
        """Every statement is made from the texts of those before it, changed or not."""
        at = msgspec.structs.asdict(windows(date.fromisoformat(self.day), msgspec.convert(self.rules, Rules)))
        sums, packets = self.sums(), list[int]()
        leaves = {"stake": self.stake_leaves(), "checked_in": self.check_in_leaves(at["check_in_opens_ms"])}
        texts = {"opened": self.text("opened", self.opened_lines(at))}
        opened_hash, closed_hash = sha256(texts["opened"].encode()).hex(), "none"
        said = {**sums, "carried_out_fen": 0, "bonus_back_fen": 0}
        if self.closed:
            texts["closed"] = self.text("closed", self.closed_lines(at, opened_hash, leaves))
            closed_hash = sha256(texts["closed"].encode()).hex()
        if self.voided:
            lines = {
                "opened": opened_hash,
                "closed": closed_hash,
                "previous": closed_hash if self.closed else self.previous,
                "voided_ms": str(max(self.closes(at)) + 6_000 if self.beacon else at["settle_ms"] + 60_000),
                "reason": as_json("停电"),
            }
            texts["void"] = self.text("void", lines)
        elif self.closed:
            draw = self.draw(at)
            signature = bytes.fromhex(draw) if len(draw) == 96 else b""
            drawn = sha256(b"clock/seed/v2", self.seed, signature, bytes.fromhex(closed_hash))
            names = ("lucky_count", "lucky_bps", "packet_cap_fen")
            how = Split(mode=self.rules["split"], **{name: self.rules[name] for name in names})
            if draw in ("missing", "late"):
                how = Split(mode="equal", packet_cap_fen=self.rules["packet_cap_fen"])
            result = split(self.split_with(drawn), sums["pot_fen"], sums["winners"], how)
            packets = list(result.packets_fen)
            said["bonus_back_fen"] = 0 if sums["winners"] else sums["bonus_fen"]
            said["carried_out_fen"] = result.carried_fen - said["bonus_back_fen"]
            leaves["packet"] = self.packet_leaves(packets)
            lines = {
                "closed": closed_hash,
                "seed": self.seed.hex(),
                "beacon": draw,
                "drawn": drawn.hex(),
                "split": how.mode,
                "packets": tree_of(leaves["packet"]),
                "carried_out_fen": str(said["carried_out_fen"]),
                "bonus_back_fen": str(said["bonus_back_fen"]),
            }
            texts["published"] = self.text("published", lines)
        answers = self.answers(texts, said, packets)
        return Played(self.day, texts, answers, leaves, packets, said["carried_out_fen"])

    def opened_lines(self, at: dict[str, int]) -> dict[str, str]:
        rules = as_json(self.rules)
        beacon = f"{CHAIN.name} {CHAIN.hash} {number_of(at)}" if self.beacon else "none"
        return {"seed_hash": sha256(self.seed).hex(), "rules": rules, "windows": as_json(at), "beacon": beacon}

    def draw(self, at: dict[str, int]) -> str:
        """What P says of it."""
        if self.beacon is None or self.says:
            return self.says or "none"
        return "late" if self.closed_ms(at) >= out_ms(number_of(at)) else self.beacon.sign(number_of(at)).hex()

    def closes(self, at: dict[str, int]) -> list[int]:
        return [at["check_in_closes_ms"] + ms for ms in self.longer_ms]

    def closed_ms(self, at: dict[str, int]) -> int:
        changed = self.changes.get("closed", {}).get("closed_ms")
        return int(changed or max(self.closes(at)) + (5_000 if self.beacon else 300_000))

    def closed_lines(self, at: dict[str, int], opened_hash: str, leaves: dict[str, list[str]]) -> dict[str, str]:
        closes = self.closes(at)
        return {
            "opened": opened_hash,
            "previous": self.previous,
            "closed_ms": str(self.closed_ms(at)),
            "closes_ms": as_json(closes),
            "shards": as_json([[len(own), len(won)] for own, won in zip(self.members, self.winners, strict=True)]),
            **{name: str(value) for name, value in self.sums().items()},
            "stakes": tree_of(leaves["stake"]),
            "checked_in": tree_of(leaves["checked_in"]),
        }

    def answers(self, texts: dict[str, str], sums: dict[str, int], packets: list[int]) -> dict[str, Any]:
        if self.voided:
            kept = {name: sums[name] for name in ("members", "winners", "late", "pool_fen", "bonus_fen")}
            sums = {
                **dict.fromkeys(sums, 0),
                **kept,
                "refunded_fen": sums["pool_fen"],
                "bonus_back_fen": sums["bonus_fen"],
            }
        ended = self.voided or self.closed
        final = {
            **{name.removesuffix("_fen"): value for name, value in sums.items()},
            "smallest": min(packets, default=None),
            "largest": max(packets, default=None),
            "packets": len(packets),
            "seed": self.seed.hex(),
        }
        live = {"members", "winners", "late", "pool"}
        figures = {
            "day": self.day,
            "state": "void" if self.voided else "finished" if self.closed else "checking_in",
            "rules": self.rules,
            **{name: value if ended or name in live else None for name, value in final.items()},
            "extensions": list(self.extensions),
            "seed_hash": sha256(self.seed).hex(),
            "archived": False,
        }
        proof = {
            "round": self.day,
            "keys": [verifier_key(self.key, self.name)],
            "statements": dict.fromkeys(("opened", "closed", "published", "void"))
            | {kind: note_of(text, self.key, self.name) for kind, text in texts.items()},
            "missing": ["beacon", "witnesses"] if self.beacon is None else ["witnesses"],
        }
        if re.search("^beacon: (missing|late)$", texts.get("published", ""), re.MULTILINE):
            proof["missing"] = ["draw", "witnesses"]
        answers = {f"/api/rounds/{self.day}": envelope(figures), f"/api/rounds/{self.day}/proof": envelope(proof)}
        if self.closed and not self.voided:
            path = f"/api/rounds/{self.day}/packets?page=1&limit=10000"
            answers[path] = envelope({"total": len(packets), "items": packets})
        apart: dict[str, Any] = json.loads(json.dumps(answers))
        return apart


def two_days(**given: Any) -> tuple[Played, Played]:
    """The round of :data:`DAY`, as it is given, and the one before it, whose cap left something over."""
    rules = {**RULES, "packet_cap_fen": 60}
    yesterday = Game(day=before(DAY), seed=bytes(32), rules=rules, beacon=given.get("beacon")).play()
    assert yesterday.carried_out_fen > 0
    given = {"previous": yesterday.last_hash, "carried_in_fen": yesterday.carried_out_fen, **given}
    return Game(**given).play(), yesterday


def bundle(*rounds: Played, **more: Any) -> dict[str, Any]:
    answers = {path: answer for one in rounds for path, answer in one.answers.items()}
    return {"bundle": "clock.bundle.v1", "from": "", "answers": {**answers, **more}}


@dataclass
class Verdict:
    """What the verifier says of a bundle."""

    status: int
    findings: list[verifier.Finding]

    def said(self, result: str) -> list[str]:
        return [f"{one.check}: {one.says}" for one in self.findings if one.result == result]

    @property
    def wrong(self) -> list[str]:
        return self.said("no")


def verdict(
    place: Path,
    *rounds: Played,
    keys: Sequence[str] = (verifier_key(),),
    seen: Sequence[Any] = (),
    receipts: Sequence[Any] = (),
    days: int = 2,
    witnesses: Sequence[str] = (),
    chains: Sequence[Chain] = (CHAIN,),
) -> Verdict:
    """Of the first round. ``seen`` and ``receipts`` are contents of files."""
    where = written(place / "bundle.json", bundle(*rounds))
    files = {
        name: [written(place / f"{name}{n}", one) for n, one in enumerate(some)]
        for name, some in (("seen", seen), ("receipt", receipts))
    }
    trusted = [verifier.key_of(key) for key in keys]
    seers = [verifier.key_of(key, verifier.COSIGNATURE) for key in witnesses]
    known = [verifier.chain_of(json.loads(description(chain))) for chain in chains]
    checks = verifier.Verification(verifier.Answers(where), rounds[0].day, days, trusted, seers, known)
    found = checks.verify(files["seen"], files["receipt"])
    assert verifier.told(found, rounds[0].day, as_json=False).isascii()
    return Verdict(found.status, found.findings)


EXAMPLE = Game(
    rules={**RULES, "shards": 1, "lucky_count": 0, "lucky_bps": 0, "bonus_fen": 0, "campaign": None},
    members=((1, 2, 3, 4, 5),),
    winners=((4, 1, 2),),
    late=(),
    longer_ms=(0,),
)
"""The example of ``docs/fair.md``."""
