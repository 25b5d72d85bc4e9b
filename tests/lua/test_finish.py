"""finish: a shard whose money is claimed and whose events are read expires; nothing else does."""

import pytest

from clock.game import keys
from tests.lua.stage import MORNING_ENDS, Stage, order, payment

NO_EXPIRY = {keys.HEARTBEAT, keys.DEV_TIME, *keys.names(keys.USERS, 0, keys.USER_NOUNS)}
"""Not a round's; see :mod:`clock.game.keys`."""


@pytest.mark.parametrize(
    "user, round_, unread, word",
    [
        # not_settled before unclaimed and undrained
        ("C", "open", False, "not_settled"),
        ("C", "open", True, "not_settled"),
        ("C", "closed", False, "not_settled"),
        ("C", "published", False, "not_settled"),
        ("C", "published", True, "not_settled"),
        # unclaimed before undrained
        ("C", "settled", False, "unclaimed"),
        ("C", "settled", True, "unclaimed"),
        # undrained
        ("P", "settled", True, "undrained"),
        ("M", "settled", True, "undrained"),
        ("C", "void", True, "undrained"),
        # finished
        ("P", "settled", False, "finished"),
        ("M", "settled", False, "finished"),
        ("-", "settled", False, "finished"),
        ("C", "void", False, "finished"),
        ("-", "void", False, "finished"),
    ],
)
async def test_first_result_that_applies_is_the_answer(
    stage: Stage, user: str, round_: str, unread: bool, word: str
) -> None:
    await stage.bring(user, round_)
    if unread:
        await stage.call("quarantine", {"channel": "c", "reason": "r", "order_no": "", "raw_base64": ""})
    if word == "finished":
        assert await stage.finish() == word
        assert await stage.state() == ("void" if round_ == "void" else "finished")
        assert await stage.events() == []
    else:
        async with stage.nothing_changes():
            assert await stage.finish() == word
        assert set((await stage.ttls()).values()) == {-1}


async def test_a_round_that_is_not_open_says_so(empty_stage: Stage) -> None:
    async with empty_stage.nothing_changes():
        assert await empty_stage.finish() == "no_round"


EVERY_KEY = {*keys.NOUNS, "0"} - {"packets"}
"""By its last word: packets are in numbered lists."""


async def everything(stage: Stage) -> None:
    """A round with every key: members of every state, a refused payment, packets."""
    await stage.open()
    await stage.winners(1, 2)
    await stage.members(3)
    await stage.late_members(4)
    await stage.join(5)
    assert await stage.call("pay", payment(1, transaction="T-second")) == ["refund_due"]
    assert await stage.call("pay", payment(5, amount_fen=99)) == ["amount_mismatch"]
    await stage.settled(30, 12)
    await stage.call("drained", before="", last_id=await stage.last_id(), entries=1)


async def test_before_it_no_key_of_a_round_expires(stage: Stage) -> None:
    await everything(stage)
    assert await stage.ttls() == dict.fromkeys(EVERY_KEY, -1)


async def test_after_it_every_key_of_the_round_expires(stage: Stage) -> None:
    await everything(stage)
    await stage.claim(1)
    await stage.claim(1, 2, by="system", now=MORNING_ENDS)
    await stage.drained()
    assert await stage.finish() == "finished"
    left = await stage.ttls()
    assert set(left) == EVERY_KEY
    assert all(keys.KEEP_MS - 60_000 < ms <= keys.KEEP_MS for ms in left.values())


async def test_a_void_round_expires_with_its_packets(stage: Stage) -> None:
    await stage.bring("C", "published")
    assert await stage.close("void") == "closed"
    await stage.drained()
    assert await stage.finish() == "finished"
    left = await stage.ttls()
    assert "0" in left, "the first list of packets"
    assert all(0 < ms <= keys.KEEP_MS for ms in left.values())


async def test_each_shard_ends_by_itself(stage: Stage) -> None:
    other = Stage(stage.redis, shard=1)
    await everything(stage)
    await everything(other)
    await stage.claim(1, 2)
    await stage.drained()
    assert await stage.finish() == "finished"
    assert await other.finish() == "unclaimed"
    assert await other.state() == "settled"
    assert await stage.redis.pttl(other.key("round")) == -1


async def test_when_all_shards_are_finished_no_key_is_left_without_expiry(stage: Stage) -> None:
    stages = [stage, Stage(stage.redis, shard=1)]
    for one in stages:
        await everything(one)
        await one.claim(1, 2)
        await one.drained()
        assert await one.finish() == "finished"
        assert await one.call("pay", payment(5), now=MORNING_ENDS) == ["refund_due"]
        await one.drained()
        assert await one.finish() == "finished"
    lasting = {name.decode() for name, (_, expires) in (await stage.dump()).items() if expires == -1}
    assert lasting <= NO_EXPIRY


async def test_it_can_be_repeated(stage: Stage) -> None:
    await stage.bring("P", "finished")
    assert await stage.finish(keep_ms=60_000) == "finished"
    assert await stage.state() == "finished"
    assert all(0 < ms <= 60_000 for ms in (await stage.ttls()).values())


async def test_a_finished_round_still_answers_retries_and_refuses_the_rest(stage: Stage) -> None:
    await stage.bring("P", "finished")
    async with stage.nothing_changes():
        assert await stage.claim(1) == [["already_claimed", 7, 100]]
        assert await stage.check_in(1) == ["already_checked_in"]
        assert await stage.call("join", order(1)) == ["already_joined"]
        assert await stage.call("pay", payment(1), now=MORNING_ENDS) == ["already_paid"]
        assert await stage.settle(1, 7) == "already_settled"
        assert await stage.publish(0, 7) == "already_published"
        assert await stage.close() == "already_closed"
        assert await stage.close("void") == "already_closed"


async def test_an_outbox_that_outlives_its_round_expires_once_it_is_read(stage: Stage) -> None:
    """A payment that came on the round's last day and was drained after the round had expired."""
    await stage.bring("O", "finished")
    assert await stage.call("pay", payment(1), now=MORNING_ENDS) == ["refund_due"]
    for noun in ("round", "members", "totals"):
        await stage.redis.delete(stage.key(noun))
    await stage.drained()
    await stage.finish()
    assert all(ms > 0 for ms in (await stage.ttls()).values())
