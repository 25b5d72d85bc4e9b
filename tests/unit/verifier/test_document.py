"""``docs/fair.md`` says what is true: its example byte for byte, its forms, its checks."""

import base64
import hashlib
import json
import re
from pathlib import Path

from clock import verifier
from clock.beacon.settings import description
from clock.verifier import FORMS, KINDS, TREES, is_signed, key_of
from tests.unit.verifier.forms import CHAIN, number_of, out_ms, path_of, verifier_key
from tests.unit.verifier.stage import DAY, EXAMPLE, verdict
from tests.unit.verifier.witnessed import WITNESS, Log

DOC = (Path(__file__).parents[3] / "docs" / "fair.md").read_text("utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return DOC.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_example_is_right_to_the_byte(tmp_path: Path) -> None:
    keys, chain, opened, closed, published, leaf, path, packet, receipt, checkpoint = BLOCKS
    played = EXAMPLE.play()
    Log(more=()).publish(played)
    notes, logged = played.proof["statements"], played.proof["logged"]
    assert (opened, closed, published) == (notes["opened"], notes["closed"], notes["published"])
    assert keys == f"{verifier_key()}\n{WITNESS}\n"
    assert chain == description(CHAIN) + "\n"
    assert leaf == played.leaves["checked_in"][1]
    assert path.split() == [step.hex() for step in path_of(1, [one.encode() for one in played.leaves["checked_in"]])]
    assert packet == played.leaves["packet"][1]
    assert f"the packets {played.packets[0]}, {played.packets[1]} and {played.packets[2]}." in DOC
    assert f"is {played.packets[1]} fen. Its leaf:" in DOC
    kept = played.receipt("checked_in", 2)
    assert (receipt, checkpoint) == (kept["note"], logged["closed"]["checkpoint"])
    assert (kept["index"], kept["size"], kept["path"]) == (1, 2, [leaf_hash(leaf)])
    assert (logged["closed"]["index"], logged["closed"]["path"]) == (1, [leaf_hash(played.texts["opened"])])
    number, out_s = number_of(played.windows), out_ms(number_of(played.windows)) // 1000
    assert f"{played.windows['settle_ms'] // 1000 - 120} s is two minutes before" in DOC
    assert f"draw {number} is out at {out_s} s." in DOC
    receipts = [kept, played.proved("checked_in", 1)]
    found = verdict(tmp_path, played.asked_for(kept), days=1, receipts=receipts, witnesses=[WITNESS])
    assert (found.status, found.said("not proved")) == (
        0,
        ["carried: Where 0 fen carried in are from: no round before is given"],
    )


def leaf_hash(leaf: str) -> str:
    return hashlib.sha256(b"\0" + leaf.encode()).hexdigest()


def test_the_example_follows_from_the_page_alone() -> None:
    """Each step by hand: what is hashed, what is signed, what is drawn."""
    keys, _, opened, closed, published, leaf, path, _, receipt, checkpoint = BLOCKS
    key, witness = keys.split()
    name, key_id, public = key.split("+", 2)
    raw = base64.b64decode(public)
    assert hashlib.sha256(name.encode() + b"\n\1" + raw[1:]).hexdigest()[:8] == key_id
    signed = (opened, closed, published, receipt, checkpoint)
    texts = [note.partition("\n\n")[0] + "\n" for note in signed]
    for note, text in zip(signed, texts, strict=True):
        signature = base64.b64decode(note.split("\n\n")[1].split("\n")[0].split(" ")[-1])
        assert signature[:4].hex() == key_id
        assert is_signed(raw[1:], text.encode(), signature[4:])
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    assert f"H(O) is `{hashes[0]}`" in DOC and f"\nopened: {hashes[0]}\n" in closed
    assert f"H(C) is `{hashes[1]}`" in DOC and f"\nclosed: {hashes[1]}\n" in published
    seed = bytes(range(32, 64))
    assert f"seed_hash: {hashlib.sha256(seed).hexdigest()}\n" in opened
    [draw] = re.findall(r"^beacon: (\w{96})$", published, re.MULTILINE)
    drawn = hashlib.sha256(b"clock/seed/v2" + seed + bytes.fromhex(draw) + bytes.fromhex(hashes[1])).hexdigest()
    assert f"\ndrawn: {drawn}\n" in published
    steps = [bytes.fromhex(step) for step in path.split()]
    [root] = re.findall(r"^checked_in: 3 (\S+)$", closed, re.MULTILINE)
    assert base64.b64encode(verifier.led_to(leaf.encode(), 1, 3, steps) or b"").decode() == root
    entries = [hashlib.sha256(b"\0" + text.encode()).digest() for text in texts[:2]]
    assert checkpoint.split("\n")[2] == base64.b64encode(hashlib.sha256(b"\1" + b"".join(entries)).digest()).decode()
    line = base64.b64decode(checkpoint.split("\n")[-2].split(" ")[-1])
    seer, seer_id, seer_public = witness.split("+", 2)
    raw = base64.b64decode(seer_public)
    assert line[:4] == hashlib.sha256(seer.encode() + b"\n\4" + raw[1:]).digest()[:4] == bytes.fromhex(seer_id)
    text = f"cosignature/v1\ntime {int.from_bytes(line[4:12], 'big')}\n{texts[4]}"
    assert is_signed(raw[1:], text.encode(), line[12:])


def test_the_chains_of_the_page_are_those_of_their_hashes() -> None:
    [quicknet] = re.findall(r"^```json\n(.*)\n```$", DOC, re.MULTILINE)
    for text in (quicknet, BLOCKS[1]):
        info = json.loads(text)
        said = info["period"].to_bytes(4, "big") + info["genesis_time"].to_bytes(8, "big")
        said += bytes.fromhex(info["public_key"] + info["groupHash"]) + info["metadata"]["beaconID"].encode()
        assert hashlib.sha256(said).hexdigest() == info["hash"] == verifier.chain_of(info).hash
    assert json.loads(quicknet) == verifier.QUICKNET
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
