"""Leaves: their salts, as docs/fair.md says them."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from clock.fair import leaves


def test_a_salt_follows_from_the_key_the_kind_and_the_user() -> None:
    key = bytes(range(32))
    expected = hmac.new(key, b"checked_in\n4711\n", hashlib.sha256).hexdigest()[:32]
    assert leaves.salt_of(key, "checked_in", 4711) == expected
    others = [leaves.salt_of(key, "stake", 4711), leaves.salt_of(key, "checked_in", 4712)]
    others.append(leaves.salt_of(bytes(32), "checked_in", 4711))
    assert len({expected, *others}) == 4


@given(st.binary(min_size=32, max_size=32), st.lists(st.integers(1, 2**53 - 1)))
def test_salts_of_many_are_those_of_each(key: bytes, uids: list[int]) -> None:
    assert leaves.Salts(key, "stake").of_all(uids) == [leaves.salt_of(key, "stake", uid) for uid in uids]


def test_leaves_of_many_are_those_of_each() -> None:
    salts = ["00" * 16, "ab" * 16]
    stakes: list[leaves.Row] = [(2, 7, "TTC0eb00000000001yUTrR3KipTq7", 100), (0, 2**53 - 1, "TTC1", 1)]
    assert leaves.of_all("stake", "2026-11-26", stakes, salts) == [
        leaves.stake("2026-11-26", 2, 7, "TTC0eb00000000001yUTrR3KipTq7", 100, salts[0]),
        leaves.stake("2026-11-26", 0, 2**53 - 1, "TTC1", 1, salts[1]),
    ]
    [leaf] = leaves.of_all("checked_in", "2026-11-26", [(0, 3, 7, 1795726802000)], salts[1:])
    assert leaf == leaves.checked_in("2026-11-26", 0, 3, 7, 1795726802000, salts[1])
