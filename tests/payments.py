"""Payments as the platform reports them."""

import msgspec

from clock.channels import Payment
from clock.channels.platform import PaymentCallback, payment_of


def paid(callback: PaymentCallback, raw: bytes | None = None) -> Payment:
    """As the service reads the callback, of which ``raw`` is kept."""
    return payment_of(callback, msgspec.json.encode(callback) if raw is None else raw, "Asia/Shanghai")
