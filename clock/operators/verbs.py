"""What operators do, one function a verb: each is written down under a name before it is done
(:mod:`clock.operators.acts`)."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import msgspec

from clock.books.accounts import sums
from clock.books.months import archive_of, has_left
from clock.domain.outcomes import Answer
from clock.game.totals import read
from clock.operators import events, promises, quarantine, rounds
from clock.operators.acts import Act, By, perform
from clock.operators.export import What, csv
from clock.operators.work.asking import Piece, Run
from clock.payments.again import Kind, find_failed, send_again
from clock.rounds.recorded import find
from clock.service import Service


async def settle(service: Service, by: By, day: date, run: Run) -> Answer:
    """Settle a due round now. Waits for a settlement that is already running."""

    async def work(act: int) -> Answer:
        known = await rounds.settled_or_refused(service, day)
        return known or await run(service, by, Piece("settle", str(day)), act)

    return await perform(service, by, Act("settle", str(day)), work)


async def void(service: Service, by: By, day: date, reason: str, run: Run) -> Answer:
    """Call a round off: every stake is owed back."""
    round_ = await find(service.store, day)
    if round_ is None:
        return Answer("round_not_found")
    books = await service.store.one("count_books", day=day) or {}
    live = await read(service.redis, day, round_.rules.shards)
    act = Act("void", str(day), reason=reason, amount_fen=max(live.pool_fen, books["pool_fen"]))

    async def work(number: int) -> Answer:
        known = await rounds.drawn_or_settled(service, day)
        return known or await run(service, by, Piece("void", str(day), {"reason": reason}), number)

    return await perform(service, by, act, work)


async def extend(service: Service, by: By, day: date, minutes: int, reason: str) -> Answer:
    """Make the check-in of a round that is still open longer."""
    act = Act("extend", str(day), {"minutes": minutes}, reason)
    return await perform(service, by, act, lambda _: rounds.extend(service, day, minutes, reason, by.who))


async def reconcile(service: Service, by: By, day: date | None, run: Run) -> Answer:
    """Compare one round, or every live one without ``day``."""
    if day is not None and await find(service.store, day) is None:
        return Answer("round_not_found")
    if day is not None and await has_left(service.store, day):
        return Answer("archived")
    piece = Piece("reconcile", str(day or ""))
    act = Act("reconcile", str(day or "live"))
    return await perform(service, by, act, lambda number: run(service, by, piece, number))


async def rebuild(service: Service, by: By, day: date | None, run: Run) -> Answer:
    """Recreate the rounds that Redis has lost; with ``day``, make Redis and the books agree on one round."""
    if day is not None and await archive_of(service.store, day):
        return Answer("archived")
    piece = Piece("rebuild", str(day or ""))
    act = Act("rebuild", str(day or "lost"))
    return await perform(service, by, act, lambda number: run(service, by, piece, number))


async def release(service: Service, by: By, entry: str, action: quarantine.Action, reason: str) -> Answer:
    """Decide about a quarantined callback once. ``entry``: its SHA-256 in hex."""
    kept = await service.store.one("get_quarantined", digest=bytes.fromhex(entry))
    if kept is None:
        return Answer("quarantined_not_found")
    paid = quarantine.payment_of(service.channels, kept["channel"], kept["raw"])
    amount_fen = paid.amount_fen if action == "refund" else None
    act = Act("release", entry, {"action": action}, reason, amount_fen)
    return await perform(service, by, act, lambda _: quarantine.release(service, entry, action, reason, by.who))


async def again(service: Service, by: By, no: str, reason: str) -> Answer:
    """Send a failed refund or payout again, out of the user's balance. The same again answers as the first time."""
    failed = await find_failed(service.store, no)
    if failed is None:
        return Answer("not_failed")
    if await archive_of(service.store, failed["day"]):  # it is being archived: its rows change no more
        return Answer("archived")

    async def work(_: int) -> Answer:
        word, data = await send_again(service.store, service.channels, failed)
        return Answer(word, msgspec.to_builtins(data))

    return await perform(service, by, Act("again", no, _of(failed), reason, failed["amount_fen"]), work)


async def acknowledge(service: Service, by: By, no: str, reason: str) -> Answer:
    """Say that a failed refund or payout was seen to: it rings no longer, and the money stays in the user's balance."""
    failed = await find_failed(service.store, no)
    if failed is None:
        return Answer("not_failed")

    async def work(_: int) -> Answer:
        await service.store.all("handle_failed", day=failed["day"], no=no, handled="acknowledged")
        return Answer("acknowledged", {"no": no})

    return await perform(service, by, Act("acknowledge", no, _of(failed), reason), work)


async def all_again(service: Service, by: By, kind: Kind, reason: str, run: Run) -> Answer:
    """Send everything of a kind again that has failed and that nobody has seen to."""
    failed = await service.store.one("sum_failed", kind=kind) or {}
    act = Act("again", kind, {"all": True}, reason, failed["fen"])
    return await perform(service, by, act, lambda number: run(service, by, Piece("again", kind), number))


async def all_acknowledged(service: Service, by: By, kind: Kind, reason: str, run: Run) -> Answer:
    """Say of all of them that they were seen to."""
    act = Act("acknowledge", kind, {"all": True}, reason)
    return await perform(service, by, act, lambda number: run(service, by, Piece("acknowledge", kind), number))


async def withdraw(service: Service, by: By, uid: int, reason: str) -> Answer:
    """Send a user's whole balance, as the user could."""
    today = service.asking.calendar.day_at(service.time.now_ms())
    balance_fen = (await sums(service.store, uid, today))["balance"]
    act = Act("withdraw", str(uid), reason=reason, amount_fen=balance_fen)
    return await perform(service, by, act, lambda _: service.withdrawals.withdraw(uid, today))


async def make_good(service: Service, by: By, day: date, said: promises.Said | None, reason: str) -> Answer:
    """Pay users of a round what they were told and did not get, out of the house's account."""
    refused, amount_fen = await promises.due_fen(service, day, said)
    if refused:
        return refused
    detail = msgspec.structs.asdict(said) if said else {}
    act = Act("make_good", str(day), detail, reason, amount_fen)
    return await perform(service, by, act, lambda _: promises.make_good(service, day, said))


async def event_again(service: Service, by: By, id_: str, reason: str) -> Answer:
    """Send an event to its receiver again, under its id."""
    act = Act("event_again", id_, reason=reason)
    return await perform(service, by, act, lambda _: events.again(service.store, id_, reason, by.who))


async def export(service: Service, by: By, day: date, what: What) -> tuple[Answer, AsyncIterator[bytes] | None]:
    """A round's books as a file in pieces, the first of which is there: what can fail at once has failed by then."""
    pieces: list[AsyncIterator[bytes]] = []

    async def work(_: int) -> Answer:
        round_ = await find(service.store, day)
        if round_ is None:
            return Answer("round_not_found")
        if await has_left(service.store, day):
            return Answer("archived")
        file = csv(service.store, day, what, round_.rules.timezone)
        pieces.append(_with_first(await anext(file), file))
        return Answer("ok")

    answer = await perform(service, by, Act("export", str(day), {"what": what}), work)
    return answer, pieces[0] if pieces else None


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _of(failed: dict[str, Any]) -> dict[str, Any]:
    return {"day": failed["day"].isoformat(), "uid": failed["uid"], "kind": failed["kind"]}
