"""Notifications: verified as they came, then read."""

import json
from collections.abc import Mapping

from clock.channels import BadSignature, Ended, Notice, Payment, Unreadable
from clock.channels.alipay.keys import Keys
from clock.channels.alipay.signing import UNSIGNED, form, signed_content
from clock.channels.alipay.texts import fen, instant_ms
from clock.config import Settings

PAID = ("TRADE_SUCCESS", "TRADE_FINISHED")

TRANSFER_CHANGED = "alipay.fund.trans.order.changed"
"""A message of the application's, not of a trade: it names no seller."""

BUYER_ID = "buyer_id"
"""In ``passback_params``: the order's ``openId`` is an Alipay number, so that is the buyer's name to compare with, also
where Alipay says both."""


class Notices:
    def __init__(self, settings: Settings, keys: Keys) -> None:
        self._app_id, self._seller_id = settings.alipay_app_id, settings.alipay_seller_id
        self._keys = keys

    def read(self, raw: bytes) -> Notice:
        """Verifies every parameter that is there, without asking how old it is: Alipay repeats a notification for a
        day, and a repeated one changes nothing. Raises :class:`BadSignature`, :class:`Unreadable`."""
        try:
            parameters = form(raw)
        except ValueError:
            raise BadSignature from None
        content = signed_content((name, value) for name, value in parameters.items() if name not in UNSIGNED)
        signature, serial = (parameters.get(name, b"").decode("latin-1") for name in (b"sign", b"alipay_cert_sn"))
        if not self._keys.verifies(signature, content, serial):
            raise BadSignature
        return self._notice(_texts(parameters, raw), raw)

    def parse(self, kept: bytes) -> Payment:
        """Of a notification, or of the node of a query's reply. Raises :class:`Unreadable`."""
        if kept.lstrip().startswith(b"{"):
            return queried(kept)
        try:
            notice = self._notice(_texts(form(kept), kept), kept)
        except ValueError as error:
            raise Unreadable(str(error), kept) from None
        if not isinstance(notice, Payment):
            raise Unreadable("not a payment", kept)
        return notice

    def _notice(self, fields: Mapping[str, str], raw: bytes) -> Notice:
        """A notice of a refund is never a payment, even if it is the first that comes of its trade: it arrives at the
        same URL with the status of a payment. The payment itself is notified too, and found by a question if not."""
        if fields.get("app_id") != self._app_id:
            raise Unreadable("of another application", raw)
        if fields.get("msg_method") == TRANSFER_CHANGED:
            return _ended(_texts_of_json(fields.get("biz_content", "").encode(), raw).get("out_biz_no", ""))
        if fields.get("seller_id") != self._seller_id:
            raise Unreadable("of another seller", raw)
        if _refunded(fields):
            return _ended(fields.get("out_biz_no") or fields.get("out_request_no", ""))
        if fields.get("trade_status") in PAID:
            return _payment(fields, fields.get("buyer_id", ""), fields.get("gmt_payment", ""), raw)
        return None


def queried(node: bytes) -> Payment:
    """The payment that a query's reply reports. Raises :class:`Unreadable`."""
    fields = _texts_of_json(node, node)
    return _payment(fields, fields.get("buyer_user_id", ""), fields.get("send_pay_date", ""), node)


def _payment(fields: Mapping[str, str], buyer_id: str, paid_at: str, kept: bytes) -> Payment:
    open_id = fields.get("buyer_open_id", "")
    by_id = fields.get("passback_params") == BUYER_ID and buyer_id
    return Payment(
        fields.get("out_trade_no", ""),
        fen(fields.get("total_amount", "")),
        fields.get("trade_no", ""),
        buyer_id if by_id else open_id or buyer_id,
        instant_ms(paid_at),
        kept,
    )


def _refunded(fields: Mapping[str, str]) -> bool:
    fee = fields.get("refund_fee", "")
    return bool(fields.get("gmt_refund")) or bool(fee and fen(fee) != 0)


def _ended(no: str) -> Ended | None:
    return Ended(no) if no else None


def _texts(parameters: Mapping[bytes, bytes], raw: bytes) -> dict[str, str]:
    try:
        return {name.decode(): value.decode() for name, value in parameters.items()}
    except UnicodeDecodeError:
        raise Unreadable("not in UTF-8", raw) from None


def _texts_of_json(text: bytes, raw: bytes) -> dict[str, str]:
    try:
        fields = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise Unreadable("no JSON object", raw)
    return {name: value for name, value in fields.items() if isinstance(value, str)}
