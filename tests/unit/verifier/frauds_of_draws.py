"""Frauds with draws of a beacon, receipts, and the log of statements, in the order of the table in ``docs/fair.md``."""

from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from py_arkworks_bls12381 import G1Point, Scalar

from clock.beacon.own import OwnKey
from tests.unit.verifier.forms import CHAIN, OWN, number_of, out_ms, path_of, sha256, tree_of
from tests.unit.verifier.frauds_of_rounds import Case, Frauds, registering
from tests.unit.verifier.stage import Game, Played, two_days
from tests.unit.verifier.witnessed import Log, seen_s

FRAUDS: Frauds = {}
fraud = registering(FRAUDS)

HONEST = Game(beacon=OWN)
AT = HONEST.play().windows
NUMBER = number_of(AT)
OUT_S = out_ms(NUMBER) // 1000
DRAW = OWN.sign(NUMBER).hex()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001


def alone(**given: Any) -> Case:
    return Case((replace(HONEST, **given).play(),), days=1)


def in_log(log: Log, *rounds: Played, **more: Any) -> Case:
    rounds = rounds or (HONEST.play(),)
    log.publish(*rounds)
    return Case(rounds, days=len(rounds), **more)


@fraud("writes C when the draw is known, and splits at random")
def closed_when_out() -> Case:
    return alone(says=DRAW, changes={"closed": {"closed_ms": str(out_ms(NUMBER))}})


@fraud("says that C was late, and has no packet drawn")
def late_in_time() -> Case:
    return alone(says="late")


@fraud("names a draw that is known earlier")
def other_number() -> Case:
    other = NUMBER - 2_000
    return alone(says=OWN.sign(other).hex(), changes={"opened": {"beacon": f"{CHAIN.name} {CHAIN.hash} {other}"}})


@fraud("mixes in another draw than the one that O names")
def other_draw() -> Case:
    return alone(says=OWN.sign(NUMBER + 1).hex())


@fraud("mixes in a draw of another chain, whose key it has")
def other_chain() -> Case:
    return alone(says=OwnKey(bytes(32)).sign(NUMBER).hex())


@fraud("gives a chain of its own the name quicknet")
def false_name() -> Case:
    return alone(changes={"opened": {"beacon": f"quicknet {CHAIN.hash} {NUMBER}"}})


@fraud("adds a point outside the group to the draw, which the equation does not see")
def outside() -> Case:
    point = G1Point.from_compressed_bytes_unchecked(bytes([0x80]) + bytes(46) + bytes([4]))
    unseen = point * Scalar.from_be_bytes((ORDER - 1).to_bytes(32, "big")) + point
    good = G1Point.from_compressed_bytes(bytes.fromhex(DRAW))
    return alone(says=(good + unseen).to_compressed_bytes().hex())


@fraud("leaves out the draw that O has promised")
def draw_left_out() -> Case:
    return alone(says="none")


@fraud("mixes something into a round that O has promised without a beacon")
def draw_invented() -> Case:
    return alone(says=DRAW, changes={"opened": {"beacon": "none"}})


@fraud("shows the draw, and does not mix it in")
def not_mixed() -> Case:
    without = sha256(b"clock/seed/v2", HONEST.seed, sha256(HONEST.play().texts["closed"].encode()))
    return alone(split_with=lambda _: without, changes={"published": {"drawn": without.hex()}})


@fraud("says that the draw was missing before the 30 minutes are over, to have no packet drawn")
def missing_too_early() -> Case:
    today = replace(HONEST, says="missing").play()
    return in_log(Log(seen_s={"published": OUT_S + 300}), today)


@fraud("splits at random although the draw was missing")
def random_without() -> Case:
    return alone(says="missing", changes={"published": {"split": "random"}})


@fraud("gives lucky packets although the draw was missing")
def lucky_without() -> Case:
    game = replace(HONEST, says="missing")
    packets = game.play().packets
    packets[0], packets[1] = packets[0] + 20, packets[1] - 20
    return alone(says="missing", changes={"published": {"packets": tree_of(game.packet_leaves(packets))}})


@fraud("does not say that the draw failed")
def draw_not_said() -> Case:
    case = alone(says="missing")
    case.rounds[0].proof["missing"] = ["witnesses"]
    return case


@fraud("calls a round off when its draw is known")
def voided_when_out() -> Case:
    return alone(voided=True, changes={"void": {"voided_ms": str(out_ms(NUMBER))}})


@fraud("calls a round without a beacon off when C is there, and the operator knows the packets")
def voided_when_known() -> Case:
    return alone(beacon=None, voided=True, closed=True)


@fraud("denies a check-in for which it has signed a receipt")
def receipt_denied() -> Case:
    kept = HONEST.play().receipt("checked_in", 1)
    today = replace(HONEST, winners=((3, 5), (8, 6))).play()
    return Case((today.asked_for(kept),), receipts=[kept], days=1)


@fraud("drops a stake for which it has signed a receipt")
def receipt_dropped() -> Case:
    kept = HONEST.play().receipt("stake", 1)
    today = replace(HONEST, members=((1, 3, 4, 5), (6, 7, 8, 9))).play()
    return Case((today.asked_for(kept),), receipts=[kept], days=1)


@fraud("moves a winner to another rank than the one of the receipt")
def receipt_moved() -> Case:
    kept = HONEST.play().receipt("checked_in", 1)
    today = replace(HONEST, winners=((1, 3, 5), (8, 6))).play()
    return Case((today.asked_for(kept),), receipts=[kept], days=1)


@fraud("answers with the leaf of the receipt, and C does not have it")
def receipt_feigned() -> Case:
    honest = HONEST.play()
    kept = honest.receipt("checked_in", 1)
    today = replace(HONEST, winners=((1, 3, 5), (8, 6))).play()
    today.answers.update(honest.asked_for(kept).answers | today.answers)
    return Case((today,), receipts=[kept], days=1)


@fraud("signs the check-in of a friend before it was")
def receipt_ahead() -> Case:
    today = HONEST.play()
    kept = today.receipt("checked_in", 1, later_ms=-60_000)
    return Case((today.asked_for(kept),), receipts=[kept], days=1)


@fraud("has another statement in the log than it serves")
def other_entry() -> Case:
    today = HONEST.play()
    other = replace(HONEST, winners=((1, 3, 5), (8, 6))).play()
    Log().publish(other)
    Log().publish(today)
    today.proof["logged"]["closed"] = other.proof["logged"]["closed"]
    return Case((today,), days=1)


@fraud("leaves a statement out of the log")
def not_in_the_log() -> Case:
    case = in_log(Log(kinds=("opened", "published")))
    case.rounds[0].proof["missing"] = ["witnesses"]
    return case


@fraud("has called a round off in the log, and shows that to nobody")
def void_hidden() -> Case:
    called_off = replace(HONEST, voided=True).play()
    today = replace(HONEST, closed=False).play()
    Log().publish(called_off)
    Log(kinds=("opened",)).publish(today)
    today.proof["logged"]["void"] = called_off.proof["logged"]["void"]
    return Case((today,), days=1)


@fraud("puts statements into the log in another order than it says to have made them")
def other_order() -> Case:
    return in_log(Log(kinds=("opened", "published", "closed")))


@fraud("keeps two logs, one for each of two rounds")
def two_logs() -> Case:
    today, yesterday = two_days(beacon=OWN)
    Log().publish(today)
    Log().publish(yesterday)
    return Case((today, yesterday))


@fraud("keeps two logs, and puts two statements in one place")
def one_place() -> Case:
    today, yesterday = two_days(beacon=OWN)
    Log().publish(today, yesterday)
    index, log = yesterday.proof["logged"]["closed"]["index"], Log()
    entries = [*"abcdefghijk"[:index], today.texts["opened"], *"lmnopqrstu"]
    path = [step.hex() for step in path_of(index, [entry.encode() for entry in entries])]
    checkpoint = log.checkpoint(entries, seen_s("opened", today))
    today.proof["logged"]["opened"] = {"index": index, "size": len(entries), "path": path, "checkpoint": checkpoint}
    return Case((today, yesterday))


@fraud("shows a log to one and another log to others")
def two_checkpoints() -> Case:
    other = HONEST.play()
    Log(more=("another earlier one\n",)).publish(other)
    return in_log(Log(), seen=[other.proof["logged"]["closed"]["checkpoint"]])


@fraud("has the log signed by a key that is not the one that people know")
def other_log_key() -> Case:
    return in_log(Log(key=OTHER))


@fraud("invents what a witness has seen")
def cosignature_invented() -> Case:
    today = HONEST.play()
    Log().publish(today)
    entry = today.proof["logged"]["closed"]
    other = today.proof["logged"]["opened"]["checkpoint"].splitlines(keepends=True)[-1]
    lines = entry["checkpoint"].splitlines(keepends=True)
    entry["checkpoint"] = "".join([*lines[:-1], other])
    return Case((today,), days=1)


@fraud("does not say that no witness has seen C")
def witness_not_said() -> Case:
    case = in_log(Log(seen_s={"closed": None}))
    case.rounds[0].proof["missing"] = []
    return case


@fraud("writes C when the draw is known, and dates it back")
def dated_back() -> Case:
    return in_log(Log(seen_s={"closed": OUT_S + 40}))


@fraud("writes O when people have joined, and dates it back")
def opened_back() -> Case:
    return in_log(Log(seen_s={"opened": AT["join_opens_ms"] // 1000 + 3600}))
