"""``docs/fair.md`` says what is true: its example byte for byte, its forms, its checks."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from clock import verifier
from clock.beacon.settings import description
from clock.verifier import FORMS, KINDS, TREES, is_signed, key_of
from tests.unit.verifier.forms import CHAIN, OWN, RULES, number_of, out_ms, path_of, verifier_key
from tests.unit.verifier.stage import DAY, EXAMPLE, verdict
from tests.unit.verifier.witnessed import WITNESS, Log

DOC = (Path(__file__).parents[3] / "docs" / "fair.md").read_text("utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)
JSON_BLOCKS = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)]
SEED = bytes(range(32, 64))


def section(title: str) -> str:
    return DOC.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_example_is_right_to_the_byte(tmp_path: Path) -> None:
    key, opened, closed, published, leaf, path, packet = BLOCKS
    played = EXAMPLE.play()
    notes = played.proof["statements"]
    assert (opened, closed, published) == (notes["opened"], notes["closed"], notes["published"])
    assert key == verifier_key() + "\n"
    assert leaf == played.leaves["checked_in"][1]
    assert path.split() == [step.hex() for step in path_of(1, [one.encode() for one in played.leaves["checked_in"]])]
    assert packet == played.leaves["packet"][1]
    assert f"the packets {played.packets[0]}, {played.packets[1]} and {played.packets[2]}." in DOC
    found = verdict(tmp_path, played, days=1, receipts=[played.proved("checked_in", 1)])
    assert (found.status, found.wrong) == (0, [])


def test_the_example_follows_from_the_page_alone() -> None:
    """Each step by hand: what is hashed, what is signed, what is drawn."""
    key, opened, closed, published, leaf, path, _ = BLOCKS
    raw = public_of(key.strip(), 1)
    texts = [text_of(note) for note in (opened, closed, published)]
    for note, text in zip((opened, closed, published), texts, strict=True):
        [signature] = signatures_of(note)
        assert is_signed(raw, text.encode(), signature[4:])
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    assert f"H(O) is `{hashes[0]}`" in DOC and f"\nopened: {hashes[0]}\n" in closed
    assert f"H(C) is `{hashes[1]}`" in DOC and f"\nclosed: {hashes[1]}\n" in published
    assert f"seed_hash: {hashlib.sha256(SEED).hexdigest()}\n" in opened
    drawn = hashlib.sha256(b"clock/seed/v2" + SEED + bytes.fromhex(hashes[1])).hexdigest()
    assert f"\ndrawn: {drawn}\n" in published
    steps = [bytes.fromhex(step) for step in path.split()]
    [root] = re.findall(r"^checked_in: 3 (\S+)$", closed, re.MULTILINE)
    assert base64.b64encode(verifier.led_to(leaf.encode(), 1, 3, steps) or b"").decode() == root


def public_of(key: str, kind: int) -> bytes:
    name, key_id, public = key.split("+", 2)
    raw = base64.b64decode(public)
    assert hashlib.sha256(name.encode() + bytes([10, kind]) + raw[1:]).hexdigest()[:8] == key_id
    return raw[1:]


def text_of(note: str) -> str:
    return note.partition("\n\n")[0] + "\n"


def signatures_of(note: str) -> list[bytes]:
    return [base64.b64decode(line.split(" ")[2]) for line in note.partition("\n\n")[2].splitlines()]


def leaf_hash(leaf: str) -> bytes:
    return hashlib.sha256(b"\0" + leaf.encode()).digest()


def test_the_second_example_is_right_to_the_byte(tmp_path: Path) -> None:
    _, chain, proof, receipt = JSON_BLOCKS
    played = replace(EXAMPLE, beacon=OWN).play()
    Log(more=()).publish(played)
    assert chain == json.loads(description(CHAIN))
    assert proof == played.proof
    assert receipt == played.receipt("checked_in", 2)
    number, out_s = number_of(played.windows), out_ms(number_of(played.windows)) // 1000
    assert f"it is {played.windows['settle_ms'] // 1000 - 120} s; draw {number} is out at {out_s} s." in DOC
    assert f"The packets are {played.packets[0]}, {played.packets[1]} and {played.packets[2]}." in DOC
    receipts = [receipt, played.proved("checked_in", 1)]
    found = verdict(tmp_path, played.asked_for(receipt), days=1, receipts=receipts, witnesses=[WITNESS])
    carried = "carried: Where 0 fen carried in are from: no round before is given"
    assert (found.status, found.said("not proved")) == (0, [carried])


def test_the_second_example_follows_from_the_page_alone() -> None:
    """Each step by hand, beside those of the first."""
    _, _, proof, receipt = JSON_BLOCKS
    raw, seer = public_of(proof["keys"][0], 1), public_of(proof["witnesses"][0], 4)
    opened, closed, published = (text_of(proof["statements"][kind]) for kind in ("opened", "closed", "published"))
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (opened, closed)]
    assert f"H(O) is `{hashes[0]}`, H(C) `{hashes[1]}`" in DOC
    [draw] = re.findall(r"^beacon: (\w{96})$", published, re.MULTILINE)
    drawn = hashlib.sha256(b"clock/seed/v2" + SEED + bytes.fromhex(draw) + bytes.fromhex(hashes[1])).hexdigest()
    assert f"\ndrawn: {drawn}\n" in published
    entry = proof["logged"]["closed"]
    assert (entry["index"], entry["size"], entry["path"]) == (1, 2, [leaf_hash(opened).hex()])
    checkpoint = text_of(entry["checkpoint"])
    root = hashlib.sha256(b"\1" + leaf_hash(opened) + leaf_hash(closed)).digest()
    assert checkpoint == f"play.example.com/clock\n2\n{base64.b64encode(root).decode()}\n"
    own, cosignature = signatures_of(entry["checkpoint"])
    assert is_signed(raw, checkpoint.encode(), own[4:])
    text = f"cosignature/v1\ntime {int.from_bytes(cosignature[4:12], 'big')}\n{checkpoint}"
    assert is_signed(seer, text.encode(), cosignature[12:])
    other, batch = bytes.fromhex(*receipt["path"]), text_of(receipt["note"])
    root = hashlib.sha256(b"\1" + other + leaf_hash(receipt["leaf"])).digest()
    assert f"\nleaves: 2 {base64.b64encode(root).decode()}\n" in batch
    assert is_signed(raw, batch.encode(), signatures_of(receipt["note"])[0][4:])


def test_the_chains_of_the_page_are_those_of_their_hashes() -> None:
    for info in JSON_BLOCKS[:2]:
        said = info["period"].to_bytes(4, "big") + info["genesis_time"].to_bytes(8, "big")
        said += bytes.fromhex(info["public_key"] + info["groupHash"]) + info["metadata"]["beaconID"].encode()
        assert hashlib.sha256(said).hexdigest() == info["hash"] == verifier.chain_of(info).hash
    assert JSON_BLOCKS[0] == verifier.QUICKNET
    [draw] = re.findall(r"Draw 1000 of quicknet is `(\w+)`", DOC)
    assert verifier.is_draw(verifier.chain_of(verifier.QUICKNET), 1000, bytes.fromhex(draw))


def test_the_forms_are_those_of_the_program() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*`) \|$", section("Statements"), re.MULTILINE))
    listed = {kind: re.findall(r"`(\w+)`", lines) for kind, lines in rows.items() if kind in KINDS}
    assert listed == {kind: [one.partition(":")[0] for one in FORMS[kind].split()] for kind in KINDS}
    leaves = re.findall(r"^\| `(\w+)` \| (round, .*?) \|", section("Trees and leaves"), re.MULTILINE)
    assert {kind: len(values.split(", ")) for kind, values in leaves} == {
        kind: len(form.split()) for kind, form in FORMS.items() if kind in TREES
    }


def test_the_names_that_a_reader_takes_are_those_without_which_the_program_refuses() -> None:
    """Of the rules, and of the public figures."""
    listed = {
        name
        for left in re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section("Statements"), re.MULTILINE)
        for name in re.findall(r"`(\w+)`", left)
    }
    needed = {name for name in RULES if not verifier.are_rules({**RULES, name: None})}
    assert needed <= listed and listed & {*RULES} == needed
    figures = EXAMPLE.play().figures
    [row] = re.findall(r"^\| `/api/rounds/{day}` \| (.*) \|$", section("A bundle"), re.MULTILINE)
    assert not {name for name in figures if is_refused(figures, name)} - {*re.findall(r"`(\w+)`", row)}


def is_refused(figures: dict[str, Any], without: str) -> bool:
    try:
        verifier.Round(DAY).take_figures({name: value for name, value in figures.items() if name != without})
    except verifier.Malformed:
        return True
    return False


def test_every_check_is_described() -> None:
    source = Path(verifier.__file__).read_text("utf-8")
    named = set(re.findall(r'(?:no|unproved|decide|hold)\(\s*"(\w+)"', source)) | {"seen", "receipt"}
    described = set(re.findall(r"^\| `(\w+)` \|", section("The checks"), re.MULTILINE))
    assert described == named
    assert all(f"`{word}` says so" in section("What cannot be proved") for word in ("beacon", "witnesses"))


def test_every_option_is_described() -> None:
    source = Path(verifier.__file__).read_text("utf-8")
    options = set(re.findall(r'add_argument\("(--\w+)"', source))
    assert options == set(re.findall(r"`(--\w+)", section("Verify a round").partition("| exit")[0])) and DAY in DOC
    assert key_of(BLOCKS[0].split()[0]).name in section("Notes and keys") + section("Statements")


def test_the_lines_of_a_batch_are_those_of_the_program() -> None:
    assert f"\n    {', '.join(one.partition(':')[0] for one in FORMS['batch'].split())}\n" in section("Receipts")
