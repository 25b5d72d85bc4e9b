"""Signatures of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over id, timestamp and body."""

import hmac
import time
import uuid
from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

from standardwebhooks import Webhook, WebhookVerificationError

from clock.channels import BadSignature

PLAIN_SECONDS = 290

MOST_SIGNATURES = 16
"""Of one message; a sender has one for each of its secrets."""


class Signatures:
    """``secrets``: one or several ``whsec_…`` separated by spaces; the first signs, all verify."""

    def __init__(self, secrets: str) -> None:
        self._webhooks = [Webhook(secret) for secret in secrets.split()]
        self._keys = [b64decode(secret.removeprefix("whsec_") + "==") for secret in secrets.split()]

    def verify(self, raw: bytes, headers: Mapping[str, str]) -> None:
        """Raises :class:`BadSignature` unless one of the signatures is valid. Repeated header lines come joined by
        commas (RFC 9110, 5.3). Five minutes of tolerance, judged by the real clock."""
        given = [one.rstrip(",") for one in headers.get("webhook-signature", "").split()[:MOST_SIGNATURES]]
        if self._plainly_good(raw, headers, given):
            return
        for signature in given:  # the library gives up at the first that it cannot read
            for webhook in self._webhooks:
                with suppress(WebhookVerificationError, ValueError):
                    webhook.verify(raw, {**headers, "webhook-signature": signature}, json_parse=False)
                    return
        raise BadSignature

    def _plainly_good(self, raw: bytes, headers: Mapping[str, str], given: list[str]) -> bool:
        """Fast path: a timestamp in whole seconds, well within the tolerance, and a v1 signature in canonical base64.
        The library accepts the same, more slowly; it decides all other cases. It reads text only, so bodies that are
        not UTF-8 are verified here: a signed one must be kept."""
        number, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not (number and at.isascii() and at.isdigit() and len(at) == 10 and at[0] != "0"):
            return False
        if abs(time.time() - int(at)) > PLAIN_SECONDS:
            return False
        signed = f"{number}.{at}.".encode() + raw
        for key in self._keys:
            expected = b"v1," + b2a_base64(hmac.digest(key, signed, "sha256"), newline=False)
            if any(hmac.compare_digest(one.encode(), expected) for one in given):
                return True
        return False

    def sign(self, raw: bytes, message_id: str = "") -> dict[str, str]:
        """The headers to send ``raw`` with. Pass ``message_id`` if the same message may be sent again."""
        message_id, now = message_id or f"msg_{uuid.uuid4().hex}", datetime.now(tz=UTC)
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhooks[0].sign(message_id, now, raw.decode()),
        }


def rfc3339(at_ms: int) -> str:
    """An instant as a message's body has it, in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
