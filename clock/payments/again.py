"""What failed is sent again, once for each failure, out of the user's balance, where the failure had put it.

A payout goes under a new number, after the provider has confirmed that the old one has failed for good. A refund keeps
its one number, under which the provider pays once, however often it is asked.
"""

import asyncio
from collections import Counter
from datetime import date
from typing import Any, Literal

import structlog

from clock.books import ledger
from clock.books.accounts import balance_fen
from clock.books.months import archive_of
from clock.books.store import Store, rows
from clock.channels import Channel
from clock.domain import progress
from clock.domain.outcomes import Unavailable

log = structlog.get_logger()

Kind = Literal["payout", "refund"]
"""What an operator sees to when it has failed. What has failed of a withdrawal is its user's again."""

CONFIRMED = {"payout": ("failed",), "refund": ("failed", "not_found")}
"""What the provider must say of the old number. Only a refund may be unknown: it goes under the same number again."""

PAGE = 100
AT_ONCE = 10
MOST_SILENT = 20
"""So often in succession a channel may not say what became of a number; then it is not asked about the others."""

WORDS = ("sent_again", "not_final", "balance_short", "archived", "unavailable", "internal")
"""What becomes of each of many; ``unavailable``: its provider does not say what became of it, so it stays as it is."""


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


async def send_all_again(store: Store, channels: dict[str, Channel], kind: Kind) -> dict[str, int]:
    """Everything of a kind that has failed and that nobody has seen to, each as :func:`send_again` does: how many ended
    with which of :data:`WORDS`. What fails anew meanwhile is not among them, and one that cannot be sent holds up no
    other. Raises :class:`Unavailable` where Postgres is away: what was done stays done, and is not done twice."""
    counts = Counter(dict.fromkeys(WORDS, 0))
    silent: Counter[str] = Counter()
    waiting = await store.one("sum_failed", kind=kind)
    assert waiting is not None
    part: dict[str, Any] = {"kind": kind, "until": waiting["at"], "limit": PAGE, "after_no": "", "after_day": date.min}
    while page := await store.page("failed_page", **part):
        sealed = {day: bool(await archive_of(store, day)) for day in {row["day"] for row in page}}
        for first in range(0, len(page), AT_ONCE):
            some = page[first : first + AT_ONCE]
            tried = (_tried(store, channels, row, sealed[row["day"]], silent) for row in some)
            for word in await asyncio.gather(*tried, return_exceptions=True):
                if isinstance(word, BaseException):
                    raise word
                counts[word] += 1
            progress.at("sending_again", counts.total(), waiting["count"])
        part |= {"after_no": page[-1]["no"], "after_day": page[-1]["day"]}
    return dict(counts)


async def _tried(
    store: Store, channels: dict[str, Channel], row: dict[str, Any], sealed: bool, silent: Counter[str]
) -> str:
    failed = await store.one("get_failed", day=row["day"], no=row["no"])
    if failed is None or sealed:
        return "archived"
    channel = failed["channel"] or ""
    if silent[channel] >= MOST_SILENT:
        return "unavailable"
    try:
        word, _ = await send_again(store, channels, failed)
    except Unavailable:
        silent[channel] += 1
        return "unavailable"
    except Exception as error:
        log.error("again_broke", no=row["no"], kind=failed["kind"], exc_info=error)
        return "internal"
    silent[channel] = 0
    return word


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
