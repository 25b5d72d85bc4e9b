"""A user's own money and mornings, from the ledger in Postgres."""

from datetime import date

from clock.books import accounts
from clock.books.months import has_left
from clock.domain.outcomes import Answer, Language
from clock.domain.rounds import SETTLED_STATES
from clock.game import keys
from clock.rounds.recorded import find
from clock.service import Service

LINES: dict[str, tuple[tuple[str, int], ...]] = {
    "stake": (("stake", -1), ("payment", 1)),
    "unwanted": (("returned", -1), ("unwanted", 1)),
    "refund": (("returned", -1), ("refund", 1)),
    "stake_back": (("stake_back", 1),),
    "packet": (("packet", 1),),
    "payout": (("payout", -1),),
    "payout_failed": (("payout_failed", 1),),
    "refund_failed": (("refund_failed", 1),),
    "sent_again": (("sent_again", -1),),
    "stake_refund": (("stake_refund", -1),),
    "withdrawal": (("withdrawal", -1),),
    "withdrawal_failed": (("withdrawal_failed", 1),),
    "made_good": (("made_good", 1),),
    "made_good_sent": (("made_good_sent", -1),),
}
"""What a user sees of each kind of transfer: lines with their signs, the last one first. What a transfer changes in the
user's account is the sum of its lines; one that goes past the account, as from the provider into a pool, has two. So
all lines of a user add up to the balance."""

TITLES = {
    "payment": ("支付到账", "Payment received"),
    "stake": ("参加打卡", "Stake"),
    "unwanted": ("多付或迟付的款项", "Payment that was not needed"),
    "stake_back": ("押金返还", "Stake returned"),
    "packet": ("红包", "Red packet"),
    "refund": ("押金退款", "Stake refunded"),
    "returned": ("退回原支付账户", "Back to where you paid from"),
    "payout": ("提现到钱包", "Paid out"),
    "payout_failed": ("提现失败，退回余额", "Payout failed, back in your balance"),
    "refund_failed": ("退款失败，退回余额", "Refund failed, now in your balance"),
    "sent_again": ("余额重新转出", "Sent again from your balance"),
    "stake_refund": ("押金退回原支付账户", "Stake, back to where you paid from"),
    "withdrawal": ("余额提现", "Withdrawn"),
    "withdrawal_failed": ("提现未到账，退回余额", "Withdrawal failed, back in your balance"),
    "made_good": ("系统差错补偿", "Made good by the house"),
    "made_good_sent": ("补偿转出", "Paid out"),
}
"""The title of each line in Chinese and English."""


async def info(service: Service, uid: int) -> Answer:
    today = service.asking.calendar.day_at(service.time.now_ms())
    info = await accounts.sums(service.store, uid, today)
    return Answer("ok", {"info": info, "withdraw": await service.withdrawals.seen(uid)})


async def place(service: Service, uid: int, day: date) -> Answer:
    """Which packet of a settled round's list is the user's, from 1; ``None`` without a check-in."""
    round_ = await find(service.store, day)
    if round_ is None:
        return Answer("not_found")
    if round_.state not in SETTLED_STATES:
        return Answer("not_settled")
    if await has_left(service.store, day):
        return Answer("archived")
    shard = keys.shard_of(uid, round_.rules.shards)
    found = await service.store.one("place", day=day, uid=uid, shard=shard)
    return Answer("ok", {"place": found["place"] if found else None})


async def history(service: Service, uid: int, page: int, limit: int, language: Language) -> Answer:
    """The months of the rounds newest first, and so the lines of each; ``money`` in fen with its sign, ``created_at``
    in ms, ``state`` of what leaves for the user, ``no`` by which an operator finds it. Only the months that hold the
    page are read, each in a transaction of its own. ``archived``: lines of months that are in files alone; ``total`` is
    without them."""
    lines = [(kind, line, sign) for kind, of_kind in LINES.items() for line, sign in of_kind]
    kinds, names, signs = ([line[part] for line in lines] for part in range(3))
    months = await accounts.history_months(service.store, uid)
    archived = await accounts.archived_lines(service.store, uid)
    found = []
    for part in accounts.pages(months, (page - 1) * limit, limit):
        found += await service.store.all("history", uid=uid, kinds=kinds, lines=names, signs=signs, **part)
    items = [
        {
            "title": TITLES[row["line"]][0 if language == "zh" else 1],
            "money": row["money"],
            "round": row["day"].isoformat(),
            "created_at": row["at_ms"],
            "kind": row["line"],
            "state": row["state"],
            "no": row["no"],
        }
        for row in found
    ]
    return Answer("ok", {"total": sum(lines for _, lines in months), "items": items, "archived": archived})
