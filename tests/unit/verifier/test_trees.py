"""Roots, paths and the split: against their definitions, and known answers."""

from hypothesis import given, settings

from clock import domain, verifier
from clock.domain.split import Split
from clock.verifier import led_to
from tests.unit.split.stage import Round, rounds
from tests.unit.verifier.forms import path_of, root_of

LEAVES = [bytes.fromhex(one) for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")]
LEAVES.append(bytes.fromhex("606162636465666768696a6b6c6d6e6f"))
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Of the first 0, 1, … 8 leaves: the known answers of the first logs of Certificate Transparency."""


def test_the_roots_of_certificate_transparency() -> None:
    assert [verifier.root_of(LEAVES[:size]).hex() for size in range(9)] == ROOTS
    assert [root_of(LEAVES[:size]).hex() for size in range(9)] == ROOTS


def test_every_path_of_every_small_tree_and_no_other_leads_to_its_root() -> None:
    for size in range(1, 20):
        leaves = [bytes([place]) for place in range(size)]
        root = verifier.root_of(leaves)
        assert root == root_of(leaves)
        for index in range(size):
            path = path_of(index, leaves)
            assert led_to(leaves[index], index, size, path) == root
            assert led_to(b"other", index, size, path) != root
            assert led_to(leaves[index], index, size, [*path, bytes(32)]) != root
            assert led_to(leaves[index], index, size, path[:-1]) != root or not path
            for other in {0, size - 1, size, index + 1} - {index}:
                assert led_to(leaves[index], other, size, path) != root
        assert led_to(leaves[0], 0, 0, []) is None
    a, b = root_of([b"a"]), root_of([b"a", b"b"])
    assert led_to(b"b", 1, 2, [a]) == b
    assert led_to(b"b", 0, 1, [a]) is None


@given(rounds())
@settings(deadline=None, max_examples=150)
def test_the_split_is_that_of_the_service(round_: Round) -> None:
    seed, pot, winners, rules = round_
    own = {**{name: getattr(rules, name) for name in Split.__struct_fields__}, "split": rules.mode}
    result = domain.split.split(*round_)
    assert verifier.split(seed, pot, winners, own) == (list(result.packets_fen), result.carried_fen)
