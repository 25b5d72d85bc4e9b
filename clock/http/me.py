"""A user's own money and mornings, from the ledger in Postgres."""

from datetime import date

from clock.domain.outcomes import Answer, Language
from clock.domain.rounds import SETTLED_STATES
from clock.game import keys
from clock.rounds.recorded import find
from clock.service import Service

TITLES = {
    "stake": (-1, "参加打卡", "Stake"),
    "stake_back": (1, "押金返还", "Stake returned"),
    "packet": (1, "红包", "Red packet"),
    "payout": (-1, "提现到钱包", "Paid out"),
    "refund": (1, "押金退款", "Stake refunded"),
    "unwanted": (1, "支付退款", "Payment refunded"),
    "payout_failed": (1, "提现失败，退回余额", "Payout failed, back in your balance"),
    "refund_failed": (1, "退款失败，退回余额", "Refund failed, now in your balance"),
    "sent_again": (-1, "余额重新转出", "Sent again from your balance"),
}
"""The kinds of transfer that a user sees: sign, and title in Chinese and English."""


async def info(service: Service, uid: int) -> Answer:
    today = service.asking.calendar.day_at(service.time.now_ms())
    return Answer("ok", {"info": await service.store.one("me", uid=uid, today=today)})


async def place(service: Service, uid: int, day: date) -> Answer:
    """Which packet of a settled round's list is the user's, from 1; ``None`` without a check-in."""
    round_ = await find(service.store, day)
    if round_ is None:
        return Answer("not_found")
    if round_.state not in SETTLED_STATES:
        return Answer("not_settled")
    shard = keys.shard_of(uid, round_.rules.shards)
    found = await service.store.one("place", day=day, uid=uid, shard=shard)
    return Answer("ok", {"place": found["place"] if found else None})


async def history(service: Service, uid: int, page: int, limit: int, language: Language) -> Answer:
    """Newest first; ``money`` in fen with its sign, ``created_at`` in ms, ``state`` of payouts and refunds."""
    count = await service.store.one("count_history", uid=uid) or {}
    found = await service.store.all("history", uid=uid, limit=limit, offset=(page - 1) * limit)
    items = []
    for row in found:
        sign, zh, en = TITLES[row["kind"]]
        if row["kind"] in ("refund", "unwanted") and row["state"] == "failed":
            sign = 0  # it did not arrive; the next line has it, in the balance
        items.append(
            {
                "title": zh if language == "zh" else en,
                "money": sign * row["amount_fen"],
                "round": row["day"].isoformat(),
                "created_at": row["at_ms"],
                "kind": row["kind"],
                "state": row["state"],
            }
        )
    return Answer("ok", {"total": count["total"], "items": items})
