"""What failed is sent again, once for each failure, out of the user's balance, where the failure had put it.

A payout goes under a new number, after the provider has confirmed that the old one has failed for good. A refund keeps
its one number, under which the provider pays once, however often it is asked.
"""

from typing import Any

from clock.books import ledger
from clock.books.accounts import balance_fen
from clock.books.store import Store, rows
from clock.channels import Channel
from clock.domain.outcomes import Unavailable

CONFIRMED = {"payout": ("failed",), "refund": ("failed", "not_found")}
"""What the provider must say of the old number. Only a refund may be unknown: it goes under the same number again."""


class BalanceShort(Exception):
    """The money is not in the user's balance any more: it went out by another way."""


async def find_failed(store: Store, no: str) -> dict[str, Any] | None:
    """The failed payout or refund of a number, as the query ``get_failed`` has it."""
    found = await store.one("find_failed", no=no)
    return await store.one("get_failed", day=found["day"], no=no) if found else None


async def send_again(store: Store, channels: dict[str, Channel], failed: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """``failed``: from :func:`find_failed`. Answers ``sent_again`` with the new row, also if that was done
    before; ``not_final`` or ``balance_short``, and nothing was done. Raises :class:`Unavailable`."""
    if failed["handled"] == "withdrawn":
        return "balance_short", {}
    if failed["handled"] != "again":
        said = await _said(channels.get(failed["channel"]), failed)
        if said not in CONFIRMED[failed["kind"]]:
            return "not_final", {"said": said}
        try:
            await _queue(store, failed)
        except BalanceShort:
            return "balance_short", {}
    sent = await store.one("get_again", day=failed["day"], no=failed["no"])
    return ("sent_again", sent) if sent else ("balance_short", {})  # its user has just withdrawn it


async def _said(channel: Channel | None, failed: dict[str, Any]) -> str:
    """What the provider says of the number now."""
    if channel is None:
        raise Unavailable(f"no channel {failed['channel']}")
    if failed["kind"] == "refund":
        said = await channel.query_refund(failed["sent_as"], failed["order_no"])
    else:
        said = await channel.query_transfer(failed["sent_as"])
    if said.state in ("again", "unknown"):
        raise Unavailable(f"the provider does not say what became of {failed['sent_as']}: {said.reason}")
    return str(said.state)


async def _queue(store: Store, failed: dict[str, Any]) -> None:
    """Whoever comes second waits for the row, and finds it handled."""
    key = {"day": failed["day"], "no": failed["no"]}
    async with store.transaction() as connection:
        has_fen = await balance_fen(connection, failed["uid"])  # first of all, as a withdrawal does
        if await rows(connection, "handle_failed", handled="again", **key):
            if has_fen < failed["amount_fen"]:
                raise BalanceShort
            number = next_no(failed)
            await rows(connection, "queue_again", new=number, **key)
            await ledger.post_outgoing(connection, failed["day"], "", "owed", [number])


def next_no(failed: dict[str, Any]) -> str:
    """The number of the row that is sent in place of a failed one: ``A`` and how often it had failed mark it."""
    count = f"A{failed['again'] + 1}"
    if failed["kind"] == "payout":
        return f"{failed['no'].partition('A')[0]}{count}"
    return f"{count}R{failed['sent_as'][1:]}"[:32]
