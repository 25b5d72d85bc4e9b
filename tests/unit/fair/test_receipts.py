"""A batch of receipts: each leads to the root that is signed once, and says the leaf that the trees will have."""

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.fair import leaves
from clock.fair.leaves import Salts, salt_of
from clock.fair.notes import signers_of, verify
from clock.fair.receipts import Promised, signed, text_of
from clock.fair.trees import leaf_hash, path_of, root_above, root_of
from tests.conftest import STATEMENT_KEY

SIGNER = signers_of(STATEMENT_KEY)[0]
DAY = "2026-11-26"


def check_ins(count: int) -> list[str]:
    ranks = range(1, count + 1)
    return [leaves.checked_in(DAY, 0, rank, 10**15 + rank, 1795726802000, f"{rank:032x}") for rank in ranks]


@pytest.mark.parametrize("count", [*range(1, 34), 255, 256, 257, 700])
def test_every_receipt_leads_to_the_signed_root(count: int) -> None:
    texts = check_ins(count)
    found = [json.loads(one) for one in signed(SIGNER, "checked_in", DAY, 1795726802345, texts)]
    hashes = [leaf_hash(text.encode()) for text in texts]
    root = root_of(hashes)
    assert [one["leaf"] for one in found] == texts
    assert [(one["index"], one["size"]) for one in found] == [(index, count) for index in range(count)]
    [note] = {one["note"] for one in found}
    text, by = verify(note, [SIGNER.verifier])
    assert by == [SIGNER.verifier]
    assert text == (
        f"clock.receipts.v1/checked_in\norigin: PeterNeumann\nround: {DAY}\nsigned_ms: 1795726802345\n"
        f"leaves: {count} {base64.b64encode(root).decode()}\n"
    )
    for index in {*range(0, count, 7), count - 1}:
        one = found[index]
        assert set(one) == {"leaf", "index", "size", "path", "note"}
        path = [bytes.fromhex(step) for step in one["path"]]
        assert path == path_of(hashes, index)
        assert root_above(one["leaf"].encode(), index, count, path) == root


@given(st.integers(1, 2**53 - 1), st.binary(min_size=32, max_size=32), st.sampled_from(["stake", "checked_in"]))
def test_salts_are_hmac_by_their_definition(uid: int, salt_key: bytes, kind: Promised) -> None:
    expected = hmac.new(salt_key, f"{kind}\n{uid}\n".encode(), hashlib.sha256).hexdigest()[:32]
    assert Salts(salt_key, kind).of_all([7, uid, uid]) == [salt_of(salt_key, kind, 7), expected, expected]
    assert salt_of(salt_key, kind, uid) == expected


def test_what_is_signed_has_one_text() -> None:
    assert text_of("stake", "play.example.com/clock", DAY, 5, 3, bytes(32)) == (
        f"clock.receipts.v1/stake\norigin: play.example.com/clock\nround: {DAY}\nsigned_ms: 5\n"
        f"leaves: 3 {base64.b64encode(bytes(32)).decode()}\n"
    )


def test_a_stake_is_spelt_as_the_trees_spell_it() -> None:
    text = leaves.stake(DAY, 2, 7, "TTC0eb00000000001yUTrR3KipTq7", 100, "00" * 16)
    [one] = map(json.loads, signed(SIGNER, "stake", DAY, 1, [text]))
    assert (one["leaf"], one["path"], one["size"]) == (text, [], 1)
