"""Frauds with statements, figures and packets, in the order of the table in ``docs/fair.md``."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.unit.verifier.forms import RULES, as_json, before, sha256, tree_of
from tests.unit.verifier.stage import DAY, SEED, Game, Played, two_days


@dataclass
class Case:
    """What is served, what somebody has kept, and whom they trust."""

    rounds: tuple[Played, ...]
    seen: list[Any] = field(default_factory=list)
    receipts: list[Any] = field(default_factory=list)
    days: int = 2


Frauds = dict[str, Callable[[], Case]]
"""By what the operator does, who signs whatever helps, in the words of the table."""


def registering(frauds: Frauds) -> Callable[[str], Callable[[Callable[[], Case]], Callable[[], Case]]]:
    def fraud(act: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
        def register(case: Callable[[], Case]) -> Callable[[], Case]:
            frauds[act] = case
            return case

        return register

    return fraud


FRAUDS: Frauds = {}
fraud = registering(FRAUDS)


def closes_ms() -> int:
    [found] = re.findall(r'"check_in_closes_ms":(\d+)', Game().play().texts["opened"])
    return int(found)


@fraud("changes the rules after people have joined, and the public answer with them")
def other_rules() -> Case:
    return Case(two_days(rules={**RULES, "fee_bps": 3000}), seen=[Game().play().proof["statements"]["opened"]])


@fraud("changes the rules in the public answer alone")
def other_public_rules() -> Case:
    today, yesterday = two_days()
    today.figures["rules"]["fee_bps"] = 3000
    return Case((today, yesterday))


@fraud("puts another O in the place of the one that C was made for")
def other_opened() -> Case:
    today, yesterday = two_days()
    lower = Game(rules={**RULES, "fee_bps": 0}).play()
    today.proof["statements"]["opened"] = lower.proof["statements"]["opened"]
    today.figures["rules"] = lower.figures["rules"]
    return Case((today, yesterday))


@fraud("opens windows at other times than the rules say")
def other_windows() -> Case:
    at = Game().play().texts["opened"].partition("windows: ")[2].partition("\n")[0]
    changed = at.replace(f'"check_in_closes_ms":{closes_ms()}', f'"check_in_closes_ms":{closes_ms() - 3_600_000}')
    return Case(two_days(changes={"opened": {"windows": changed}}, longer_ms=(-3_600_000, -3_600_000)))


@fraud("closes check-in early")
def closed_early() -> Case:
    return Case(two_days(longer_ms=(0, -3_600_000)))


@fraud("keeps check-in open for friends")
def closed_late() -> Case:
    return Case(two_days(longer_ms=(1_800_000, 0)))


@fraud("writes C while people can still check in")
def closed_before() -> Case:
    return Case(two_days(changes={"closed": {"closed_ms": str(closes_ms() - 1)}}))


@fraud("drops a stake from the pool, and its leaf from the tree")
def stake_dropped() -> Case:
    honest, _ = two_days()
    held = honest.proved("stake", 1)
    return Case(two_days(members=((1, 3, 4, 5), (6, 7, 8, 9))), receipts=[held])


@fraud("says fewer members than there are leaves")
def members_understated() -> Case:
    return Case(two_days(changes={"closed": {"members": "8", "pool_fen": "800", "forfeited_fen": "200"}}))


@fraud("denies a check-in whose leaf was handed out")
def check_in_denied() -> Case:
    honest, _ = two_days()
    return Case(two_days(winners=((3, 5), (8, 6))), receipts=[honest.proved("checked_in", 1)])


@fraud("moves a winner to another rank, and so to another packet")
def rank_moved() -> Case:
    today, yesterday = two_days()
    held = today.proved("checked_in", 1)
    held["data"]["leaf"] = held["data"]["leaf"].replace("\n0\n2\n1\n", "\n0\n1\n1\n")
    return Case((today, yesterday), receipts=[held])


@fraud("builds a tree whose leaves stand in another order than the ranks")
def order_changed() -> Case:
    honest = Game()
    leaves = honest.check_in_leaves(closes_ms() - 3 * 3_600_000)
    leaves[0], leaves[1] = leaves[1], leaves[0]
    today, yesterday = two_days(changes={"closed": {"checked_in": tree_of(leaves)}})
    today.leaves["checked_in"] = leaves
    return Case((today, yesterday), receipts=[today.proved("checked_in", 0)])


@fraud("records a check-in outside the window")
def outside_the_window() -> Case:
    honest = Game()
    leaves = honest.check_in_leaves(closes_ms() + 10_000)
    today, yesterday = two_days(changes={"closed": {"checked_in": tree_of(leaves)}})
    today.leaves["checked_in"] = leaves
    return Case((today, yesterday), receipts=[today.proved("checked_in", 0)])


@fraud("takes a higher fee than the rules allow")
def fee_taken() -> Case:
    honest = Game().sums()
    changed = {"fee_fen": str(honest["fee_fen"] + 100), "pot_fen": str(honest["pot_fen"] - 100)}
    return Case((Game(changes={"closed": changed}).play(),), days=1)


@fraud("leaves forfeited stakes out of the pot")
def pot_smaller() -> Case:
    return Case((Game(changes={"closed": {"pot_fen": "100"}}).play(),), days=1)


@fraud("says that sleepers were refunded who were not late members")
def refunds_invented() -> Case:
    changed = {"refunded_fen": "400", "forfeited_fen": "0", "fee_fen": "0", "pot_fen": "50"}
    return Case((Game(changes={"closed": changed}).play(),), days=1)


@fraud("keeps what the round before carried out")
def carry_kept() -> Case:
    return Case(two_days(carried_in_fen=0))


@fraud("keeps what fits under no cap")
def over_kept() -> Case:
    game = Game(rules={**RULES, "packet_cap_fen": 60}, changes={"published": {"carried_out_fen": "0"}})
    return Case((game.play(),), days=1)


@fraud("takes another seed once the members are known")
def other_seed() -> Case:
    other = sha256(b"a better one")
    return Case(two_days(changes={"opened": {"seed_hash": sha256(SEED).hex()}}, seed=other))


@fraud("draws from another seed than follows from the seed and C")
def other_drawn() -> Case:
    return Case(two_days(changes={"published": {"drawn": "00" * 32}}, split_with=lambda _: bytes(32)))


@fraud("aims a large packet at a friend")
def aimed() -> Case:
    return Case(two_days(split_with=lambda _: sha256(b"tried until the friend wins")))


@fraud("swaps two packets in P and in the public list")
def swapped() -> Case:
    game = Game()
    packets = game.play().packets
    packets[0], packets[1] = packets[1], packets[0]
    today = Game(changes={"published": {"packets": tree_of(game.packet_leaves(packets))}}).play()
    today.listed["items"] = packets
    return Case((today,), days=1)


@fraud("splits evenly where the rules say random, or the other way round")
def other_mode() -> Case:
    return Case((Game(changes={"published": {"split": "equal"}}).play(),), days=1)


@fraud("lists other packets than were drawn")
def other_list() -> Case:
    today = Game().play()
    today.listed["items"][0] += 1
    return Case((today,), days=1)


@fraud("pays another packet than was drawn")
def other_packet() -> Case:
    today = Game().play()
    held = today.proved("packet", 2)
    held["data"]["leaf"] = held["data"]["leaf"].replace(f"\n{today.packets[2]}\n", "\n1\n")
    return Case((today,), receipts=[held], days=1)


@fraud("shows other figures than were signed")
def other_figures() -> Case:
    today = Game().play()
    today.figures["members"] += 1
    return Case((today,), days=1)


@fraud("signs two O, and shows each to other people")
def two_opened() -> Case:
    other = Game(rules={**RULES, "packet_cap_fen": 50}).play()
    return Case(two_days(), seen=[other.proof["statements"]["opened"]])


@fraud("signs two C, and shows each to other people")
def two_closed() -> Case:
    other, _ = two_days(winners=((3, 1, 5), (8,)))
    return Case(two_days(), seen=[other.proof["statements"]["closed"]])


@fraud("writes the past anew: two C for the same one before")
def forked() -> Case:
    first = Game(day=before(DAY, 2)).play()
    yesterday = Game(day=before(DAY), previous=first.last_hash).play()
    return Case((Game(previous=first.last_hash).play(), yesterday, first), days=3)


@fraud("begins the chain again")
def begun_again() -> Case:
    return Case((Game().play(), Game(day=before(DAY)).play()))


@fraud("serves a round that was signed as if it had no statements")
def withheld() -> Case:
    today = Game().play()
    seen = today.proof["statements"]["opened"]
    today.proof["statements"] = dict.fromkeys(today.proof["statements"])
    return Case((today,), seen=[seen], days=1)


@fraud("withholds P of a round that is settled")
def published_withheld() -> Case:
    today = Game().play()
    today.proof["statements"]["published"] = None
    return Case((today,), days=1)


@fraud("calls a round off after its packets were published")
def voided_late() -> Case:
    today, called_off = Game().play(), Game(voided=True).play()
    today.proof["statements"]["void"] = called_off.proof["statements"]["void"]
    today.figures.update(called_off.figures)
    return Case((today,), days=1)


@fraud("calls a round off without saying so")
def voided_silently() -> Case:
    today = Game(voided=True).play()
    today.proof["statements"]["void"] = None
    return Case((today,), days=1)


@fraud("does not give all stakes of a void round back")
def void_kept() -> Case:
    today = Game(voided=True).play()
    today.figures["refunded"] -= 100
    return Case((today,), days=1)


@fraud("changes a statement after it was signed")
def unsigned() -> Case:
    today = Game().play()
    notes = today.proof["statements"]
    notes["closed"] = notes["closed"].replace("fee_fen: 15", "fee_fen: 16")
    return Case((today,), days=1)


@fraud("signs with a key that is not the one that people know")
def other_key() -> Case:
    return Case((Game(key=Ed25519PrivateKey.from_private_bytes(bytes(32))).play(),), days=1)


@fraud("shows the statement of another round, or of another kind")
def other_round() -> Case:
    today = Game().play()
    today.proof["statements"]["opened"] = Game(day=before(DAY)).play().proof["statements"]["opened"]
    return Case((today,), days=1)


@fraud("adds a line to a statement that other readers may read otherwise")
def further_line() -> Case:
    return Case((Game(changes={"closed": {"fee_too_fen": "100"}}).play(),), days=1)


@fraud("says one thing twice in the rules")
def doubled() -> Case:
    rules = as_json(RULES).replace('"fee_bps":500', '"fee_bps":0,"fee_bps":500')
    return Case((Game(changes={"opened": {"rules": rules}}).play(),), days=1)


@fraud("says nothing of what it cannot prove")
def nothing_missing() -> Case:
    today = Game().play()
    today.proof["missing"] = []
    return Case((today,), days=1)


@fraud("answers with something that is no answer")
def no_answer() -> Case:
    today = Game().play()
    today.answers[f"/api/rounds/{DAY}/proof"] = {"status": 1, "code": "ok", "data": {"round": DAY, "keys": 7}}
    return Case((today,), days=1)
