"""Do Redis, the books, the ledger, the manifest and the provider's bill say the same of a round?

Each difference is named with its order, user or number. What is safe to mend is mended: a payment in the bill
that we never heard of takes the way of its callback (:mod:`clock.audit.bill`). The rest is listed. Everything is read
in pages: memory does not grow with the number of members. Nothing is kept in between, so it may be cut at any moment
and started again.
"""

from datetime import date

from clock.audit.accounts import MEMBERS_AT_ONCE, differing_accounts
from clock.audit.bill import compare_bill
from clock.audit.hashes import drained
from clock.audit.manifest import compare_packets
from clock.audit.memory import compare_memory, in_redis
from clock.audit.report import MOST, Difference, Report, record
from clock.books import ledger
from clock.books.partitions import measure
from clock.books.store import one, rows
from clock.domain import progress
from clock.domain.rounds import PAID_OUT_STATES
from clock.rounds.recorded import Recorded, find
from clock.service import Service


async def reconcile(service: Service, day: date) -> Report | None:
    """Compare everything about a round; ``None`` if there is no such round. Raises :class:`Unavailable`."""
    round_ = await find(service.store, day)
    if round_ is None:
        return None
    report = Report(day=day.isoformat())
    await drained(service, round_, round_.shards)
    await measure(service.store, day)
    await compare_bill(service, round_, report)
    here = await in_redis(service, round_, report)
    await compare_memory(service, round_, here, report)
    await _ledger(service, round_, report)
    await _accounts(service, round_, report)
    await compare_packets(service, round_, here, report)
    await record(service.store, day, report)
    return report


async def _ledger(service: Service, round_: Recorded, report: Report) -> None:
    """Each row that a rule speaks of has its transfer, of the same amount, and no transfer is without its row."""
    day = round_.day
    for number, rule in enumerate(ledger.RULES):
        progress.at("reconcile_ledger", number, len(ledger.RULES))
        async with service.store.transaction() as connection:
            await rows(connection, "compare_all")
            differing = await ledger.unposted(connection, rule, day, MOST)
        for found in differing:
            report.differences.append(
                Difference(
                    f"ledger_{rule.kind}",
                    str(found["cause"]),
                    f"books {found['books']} fen {found['accounts']}",
                    f"ledger {found['ledger']} fen {found['posted']}",
                )
            )
    async with service.store.transaction() as connection:
        await rows(connection, "compare_all")
        for found in await rows(connection, "unqueued", day=day, limit=MOST):
            report.differences.append(
                Difference("queue", found["no"], f"owed {found['owed']} fen", f"queued {found['queued']} fen")
            )
        for stray in await rows(connection, "stray_claims", day=day, limit=MOST):
            said = f"{stray['packet_fen']} fen", f"{stray['fen']} fen"
            report.differences.append(Difference("claim_not_in_manifest", f"user {stray['uid']}", *said))
        for row in await rows(connection, "promises_of", day=day):
            if not row["kept"]:
                said = f"told {row['told_fen']} fen", f"given {row['given_fen'] + row['made_good_fen']} fen"
                report.differences.append(Difference("promise", f"user {row['uid']}", *said))
        left = (await one(connection, "pool_balance", day=day))["fen"]
    if round_.state in PAID_OUT_STATES and left:
        report.differences.append(Difference("pool_not_empty", f"pool:{day}", f"{left} fen", "0 fen"))


async def _accounts(service: Service, round_: Recorded, report: Report) -> None:
    """The sums that are kept of the round's members are those of their transfers."""
    done, found, after = 0, 0, 0
    while found < MOST:
        differing, last = await differing_accounts(service.store, round_.day, after)
        for account in differing:
            said = f"kept {account['kept']} lines", f"posted {account['posted']} lines"
            report.differences.append(Difference("account", f"user {account['uid']}", *said))
        if last is None:
            break
        done, found, after = done + MEMBERS_AT_ONCE, found + len(differing), last
        progress.at("reconcile_accounts", done)
