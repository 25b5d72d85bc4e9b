"""The words of the service: what each means for ``status``, for HTTP, and for people."""

from functools import lru_cache
from typing import Any, Literal

import msgspec

Language = Literal["zh", "en"]

_encode = msgspec.json.Encoder().encode


class Outcome(msgspec.Struct, frozen=True):
    status: Literal[0, 1]
    http: int
    zh: str
    en: str


class Answer(msgspec.Struct, frozen=True):
    """A verb's answer: a word of :data:`OUTCOMES` and its data."""

    word: str
    data: dict[str, Any] = {}


class Spelt(Answer, frozen=True):
    """An answer whose data is ``json``, an object in parts: written where it is known, and copied once, which is
    cheaper for a long one."""

    json: tuple[bytes, ...] = (b"{}",)


class Busy(Exception):
    """The queue is full; nothing was done."""


class SlowDown(Exception):
    """One user asks for too much; nothing was done."""


class Unavailable(Exception):
    """Redis or Postgres gave no answer: not done, or done and safe to retry."""


def _yes(zh: str, en: str) -> Outcome:
    return Outcome(1, 200, zh, en)


def _no(zh: str, en: str, http: int = 200) -> Outcome:
    return Outcome(0, http, zh, en)


OUTCOMES: dict[str, Outcome] = {
    "ok": _yes("成功", "Done"),
    # join
    "ordered": _yes("下单成功，请支付", "Ordered, please pay"),
    "order_pending": _yes("订单待支付", "Your order is waiting to be paid"),
    "already_joined": _no("您已参加本轮打卡", "You have already joined this round"),
    "settle_first": _no("请等上一轮结算后再参加", "Please wait until yesterday's round is settled"),
    "profile_required": _no("请先完善手机号、昵称和openId", "Mobile, nickname and openId are required"),
    "join_closed": _no("现在不能参加", "Joining is closed at this hour"),
    # check in
    "checked_in": _yes("打卡成功", "Checked in"),
    "already_checked_in": _yes("您已打卡", "You have already checked in"),
    "too_early": _no("时间还没到", "It is too early"),
    "too_late": _no("打卡时间已过", "Check-in is over"),
    "not_joined": _no("您没有参加本轮打卡", "You have not joined this round"),
    "voided": _no("本轮已取消，押金原路退回", "This round was called off; your stake is refunded"),
    # claim
    "claimed": _yes("红包领取成功", "Red packet claimed"),
    "already_claimed": _yes("红包已领取", "You have already claimed"),
    "not_settled": _no("正在结算，请稍后再试", "Being settled, please try again shortly"),
    "not_checked_in": _no("您没有打卡", "You did not check in"),
    # pay
    "order_closed": _no("这笔订单已不能支付", "This order can no longer be paid"),
    "pay_refused": _no("支付渠道没有接受这笔订单", "The provider does not take this order"),
    # withdraw
    "withdrawing": _yes("正在提现", "On its way to you"),
    "nothing_to_withdraw": _no("余额为零", "Your balance is zero"),
    "below_minimum": _no("余额还不到最低提现金额", "Your balance is below the minimum"),
    # payment callbacks
    "paid": _yes("支付成功", "Paid"),
    "already_paid": _yes("支付已处理", "Already paid"),
    "refund_due": _yes("支付已收到，将退款", "Received, will be refunded"),
    "order_not_found": _no("订单不存在", "No such order", 404),
    "amount_mismatch": _no("金额不符", "The amount is not the order's"),
    "buyer_mismatch": _no("付款人不符", "The buyer is not the order's"),
    "transaction_missing": _no("缺少交易号", "transactionId is missing"),
    # operator
    "working": _yes("正在进行，稍后可查看结果", "It is under way; look again shortly for its end"),
    "settled": _yes("已结算", "Settled"),
    "not_due": _no("还没到结算时间", "Settlement is not due yet"),
    "round_void": _no("本轮已取消", "This round is void"),
    "round_settled": _no("本轮已结算，不能取消", "This round is settled and cannot be voided"),
    "round_drawn": _no(
        "本轮的抽签结果已经确定，不能取消", "The draw of this round is known, and it cannot be voided any more"
    ),
    "extended": _yes("打卡时间已延长", "Check-in is longer"),
    "check_in_closed": _no("打卡已经结束，不能再延长", "Check-in is over and is not opened again"),
    "too_long": _no(
        "一轮最多一共延长 60 分钟，并且要在领取结束前结算",
        "A round becomes at most 60 minutes longer in all, and is settled before claiming closes",
    ),
    "second_name_needed": _no(
        "金额较大：请另一位操作员在 24 小时内用自己的名字做同样的操作",
        "For this amount another operator has to do the same, under another name, within 24 hours",
    ),
    "planned": _yes("规则已排定", "Planned"),
    "taken_back": _yes("已撤回", "Taken back"),
    "rules_too_late": _no(
        "这些日期里有一轮已经开放或已经过去，它的规则不能再改",
        "A round of these days is open or over: its rules do not change any more",
    ),
    "rules_misfit": _no("按这样的规则有一轮无法进行", "A round could not be played by these rules"),
    "rules_full": _no("排定的规则太多，请先撤回一些", "Too many changes are planned: take some back first"),
    "change_not_found": _no("没有这条规则变更", "No such change of rules", 404),
    "person_not_found": _no("没有这个用户", "No such user", 404),
    "round_not_found": _no("没有这一轮", "No such round", 404),
    "released": _yes("已处理", "Released"),
    "already_released": _no("之前已按另一种方式处理", "It was released otherwise before"),
    "cannot_release": _no("不能这样处理", "It cannot be released like this"),
    "quarantined_not_found": _no("没有这条隔离记录", "No such callback in the quarantine", 404),
    "sent_again": _yes("已重新发送", "It is sent again"),
    "acknowledged": _yes("已确认，不再提醒", "Noted; it rings no longer"),
    "made_good": _yes("已补偿", "Made good"),
    "not_failed": _no("没有这个失败的付款或退款", "No failed payout or refund has this number", 404),
    "not_final": _no(
        "渠道没有确认这个单号已经失败，不能重新发送",
        "The provider does not confirm that this number has failed: it is not sent again",
    ),
    "balance_short": _no("钱已经不在用户余额里", "The money is not in the user's balance any more"),
    "event_due": _yes("将再次发送", "It will be sent again"),
    "event_not_found": _no("没有这个事件", "No such event", 404),
    "archived": _no(
        "这一轮的明细已归档；数字仍可查看，红包仍可用公布的种子重新算出",
        "The details of this round are archived; its figures stay, and its packets follow from the published seed",
    ),
    "month_archived": _yes("已归档", "Archived"),
    "nothing_due": _yes("没有月份该归档", "No month is due"),
    "month_restored": _yes("已从归档恢复", "Restored from the archive"),
    "month_held": _no("这个月还不能归档", "This month cannot be archived yet"),
    "month_not_found": _no("数据库里没有这个月", "The database does not have this month", 404),
    "month_not_archived": _no("这个月没有归档", "This month is not archived", 404),
    "archive_damaged": _no("归档文件缺失或损坏", "A file of the archive is missing or damaged"),
    "disk_full": _no("磁盘空间不足，没有删除任何数据", "The disk is full; nothing has left the database"),
    "forgotten": _yes("个人信息已删除", "The personal data is gone"),
    "forgotten_in_part": _yes(
        "能删除的个人信息已删除；其余的为何保留、到何时，见结果",
        "What could go is gone; the answer says what is kept, why, and until when",
    ),
    "books_agree": _yes("账目一致", "The books agree"),
    "books_differ": _no("账目不一致", "The books differ"),
    # refusals
    "bad_request": _no("请求有误", "Bad request", 400),
    "unauthenticated": _no("请先登录", "A valid token is required", 401),
    "bad_signature": _no("签名错误", "Bad signature", 401),
    "forbidden": _no("没有权限", "Not allowed", 403),
    "not_found": _no("没有这个地址", "No such path", 404),
    "method_not_allowed": _no("不支持的请求方法", "Method not allowed", 405),
    "too_large": _no("请求太大", "The body is too large", 413),
    "slow_down": _no("请求太频繁，请稍后再试", "Too many requests, please slow down", 429),
    "internal": _no("服务出错", "Something broke", 500),
    "busy": _no("人太多了，请稍后再试", "Busy, please try again", 503),
    "unavailable": _no("服务暂不可用，请稍后再试", "Unavailable, please try again", 503),
}

FOR_VERB: dict[tuple[str, str], tuple[str, str]] = {
    ("check_in", "too_early"): ("打卡还没开始", "Check-in has not opened yet"),
    ("claim", "too_early"): ("还没到领取时间", "Claiming has not opened yet"),
    ("public_round", "not_found"): ("没有这一轮", "No such round"),
    ("public_round", "not_settled"): ("本轮还没结算", "This round is not settled yet"),
    ("proof", "not_found"): ("没有这一轮", "No such round"),
    ("leaf_proof", "not_found"): ("没有这一轮，或它没有签名声明", "No such round, or it has no statements"),
    ("leaf_proof", "not_settled"): ("本轮还没有公布到这一步", "This round has not come so far yet"),
    ("receipt", "not_found"): ("没有这一轮，或它没有签名声明", "No such round, or it has no statements"),
    ("remind", "ok"): ("提醒设置已保存", "Your reminder is set"),
    ("all_again", "ok"): ("已逐笔处理，结果见各项数目", "Each was dealt with; the counts say how"),
    ("all_acknowledged", "ok"): ("已全部确认，不再提醒", "All noted; they ring no longer"),
    ("void", "ok"): ("本轮已取消，押金将退回", "Voided; every stake will be refunded"),
}
"""Messages of a word that differ by verb: ``(verb, word)`` to Chinese and English."""

KEPT = Outcome(
    0,
    503,
    "已经记下，worker 一恢复就会完成；再次操作会合并成同一件",
    "it is kept, and done as soon as a worker can; asking again joins it",
)
"""The rest of ``unavailable``, where what an operator asked for waits."""

RETRY_AFTER_SECONDS = {"slow_down": 1, "busy": 1, "unavailable": 2}


def language(accept: str) -> Language:
    """Chinese unless ``Accept-Language`` puts English first of the two (RFC 9110, 12.5.4)."""
    best: Language = "zh"
    best_weight = 0.0
    for part in accept.lower().split(","):
        tag, _, parameters = part.strip().partition(";")
        name, _, value = parameters.strip().partition("=")
        try:
            weight = float(value) if name == "q" else 1.0
        except ValueError:
            continue
        for candidate in ("zh", "en"):
            if tag.strip().split("-")[0] == candidate and weight > best_weight:
                best, best_weight = candidate, weight
    return best


def message(verb: str, word: str, language: Language) -> str:
    special = FOR_VERB.get((verb, word))
    if special:
        return special[0 if language == "zh" else 1]
    return getattr(OUTCOMES[word], language)  # type: ignore[no-any-return]


@lru_cache(maxsize=4096)
def _opening(verb: str, word: str, language: Language) -> bytes:
    """An envelope without details, up to its data."""
    head = {"status": OUTCOMES[word].status, "code": word, "message": message(verb, word, language)}
    return msgspec.json.encode(head)[:-1] + b',"data":'


def envelope(answer: Answer, verb: str, language: Language, detail: str = "") -> bytes:
    """The reply's body. ``detail`` names the error in a request."""
    if isinstance(answer, Spelt):
        return b"".join((_opening(verb, answer.word, language), *answer.json, b"}"))
    if not detail:
        return _opening(verb, answer.word, language) + _encode(answer.data) + b"}"
    return _encode(
        {
            "status": OUTCOMES[answer.word].status,
            "code": answer.word,
            "message": f"{message(verb, answer.word, language)}: {detail}",
            "data": answer.data,
        }
    )
