"""``docs/fair.md`` says what is true: its example byte for byte, its forms, its checks."""

import base64
import hashlib
import re
from pathlib import Path

from clock import verifier
from clock.verifier import FORMS, KINDS, TREES, is_signed, key_of
from tests.unit.verifier.forms import path_of, verifier_key
from tests.unit.verifier.stage import DAY, EXAMPLE, verdict

DOC = (Path(__file__).parents[3] / "docs" / "fair.md").read_text("utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)


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
    name, key_id, public = key.strip().split("+", 2)
    raw = base64.b64decode(public)
    assert hashlib.sha256(name.encode() + b"\n\1" + raw[1:]).hexdigest()[:8] == key_id
    texts = [note.partition("\n\n")[0] + "\n" for note in (opened, closed, published)]
    for note, text in zip((opened, closed, published), texts, strict=True):
        signature = base64.b64decode(note.split(" ")[-1])
        assert signature[:4].hex() == key_id
        assert is_signed(raw[1:], text.encode(), signature[4:])
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    assert f"H(O) is `{hashes[0]}`" in DOC and f"\nopened: {hashes[0]}\n" in closed
    assert f"H(C) is `{hashes[1]}`" in DOC and f"\nclosed: {hashes[1]}\n" in published
    seed = bytes(range(32, 64))
    assert f"seed_hash: {hashlib.sha256(seed).hexdigest()}\n" in opened
    drawn = hashlib.sha256(b"clock/seed/v2" + seed + bytes.fromhex(hashes[1])).hexdigest()
    assert f"\ndrawn: {drawn}\n" in published
    steps = [bytes.fromhex(step) for step in path.split()]
    [root] = re.findall(r"^checked_in: 3 (\S+)$", closed, re.MULTILINE)
    assert base64.b64encode(verifier.led_to(leaf.encode(), 1, 3, steps) or b"").decode() == root


def test_the_forms_are_those_of_the_program() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*`) \|$", section("Statements"), re.MULTILINE))
    listed = {kind: re.findall(r"`(\w+)`", lines) for kind, lines in rows.items() if kind in KINDS}
    assert listed == {kind: [one.partition(":")[0] for one in FORMS[kind].split()] for kind in KINDS}
    leaves = re.findall(r"^\| `(\w+)` \| (round, .*?) \|", section("Trees and leaves"), re.MULTILINE)
    assert {kind: len(values.split(", ")) for kind, values in leaves} == {
        kind: len(form.split()) for kind, form in FORMS.items() if kind in TREES
    }


def test_every_check_is_described() -> None:
    source = Path(verifier.__file__).read_text("utf-8")
    named = set(re.findall(r'(?:no|unproved|decide|hold)\(\s*"(\w+)"', source)) | {"seen", "receipt"}
    described = set(re.findall(r"^\| `(\w+)` \|", section("The checks"), re.MULTILINE))
    assert described | {"beacon", "witnesses"} == named
    assert all(f"`{word}` says so" in section("What cannot be proved") for word in ("beacon", "witnesses"))


def test_every_option_is_described() -> None:
    source = Path(verifier.__file__).read_text("utf-8")
    options = set(re.findall(r'add_argument\("(--\w+)"', source))
    assert options == set(re.findall(r"`(--\w+)", section("Verify a round").partition("| exit")[0])) and DAY in DOC
    assert key_of(BLOCKS[0].strip()).name in section("Notes and keys") + section("Statements")
