"""What operators see and do, and whether a process should get traffic."""

import asyncio
import re
from datetime import date
from time import monotonic
from typing import Annotated, Any, Literal

import msgspec
import structlog
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send
from redis.exceptions import RedisError

from clock import metrics
from clock.audit.rebuild import rebuild_lost
from clock.audit.reconcile import SPLIT_STATES
from clock.audit.reconcile import reconcile as compare
from clock.books import outbox
from clock.domain.outcomes import OUTCOMES, Answer, Unavailable, language, message
from clock.domain.rounds import Calendar, Rules, parse_day, phase, previous, windows
from clock.game import keys
from clock.game.totals import read
from clock.http.lane import Refused, read_body
from clock.http.wire import Envelope, ReleaseRequest
from clock.operators.live import add_up, traffic
from clock.operators.quarantine import payment_of
from clock.operators.quarantine import release as decide
from clock.operators.watch import Watch, alarms
from clock.payments.outgoing import STUCK_ATTEMPTS
from clock.rounds.settling import BooksDiffer
from clock.service import Service, durability_of, live_rounds
from clock.tokens import Unauthenticated

log = structlog.get_logger()

PING_SECONDS = 2.0
"""How long readiness waits for Postgres: a load balancer does not wait much longer."""

Page = Annotated[int, QueryParameter(ge=1, le=10_000, description="From 1")]
Limit = Annotated[int, QueryParameter(ge=1, le=200)]

AskedUid = Annotated[int | None, QueryParameter(ge=1, le=2**53 - 1, description="For a service token")]

AskedDay = Annotated[str | None, QueryParameter(description="YYYY-MM-DD: of this round alone")]

Waiting = Annotated[bool, QueryParameter(description="Only those that wait for a decision")]

STEPS = ("ordered", "paid", "checked_in", "claimed")

OutgoingState = Annotated[
    Literal["failed", "stuck", "owed", "unknown", "processing", "done"],
    QueryParameter(name="state", description="stuck: tried for hours and still not ended"),
]

RESPONSES = {
    status: ResponseSpec(Envelope, description=text)
    for status, text in {
        400: "bad_request",
        401: "unauthenticated",
        403: "forbidden",
        404: "not_found",
        413: "too_large",
        429: "slow_down",
        503: "unavailable",
    }.items()
}


def bounded(app: ASGIApp) -> ASGIApp:
    """A middleware: the body is read, or refused as too large, before anything else is looked at. What Litestar would
    answer to OPTIONS is no envelope."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        scope["arrived"] = monotonic()  # type: ignore[typeddict-unknown-key]
        if scope["method"] == "OPTIONS":  # type: ignore[typeddict-item]
            raise Refused("method_not_allowed")
        raw = await read_body(receive, dict(scope["headers"]))

        async def read_already() -> HTTPReceiveMessage:
            return {"type": "http.request", "body": raw, "more_body": False}

        await app(scope, read_already, send)

    return run


class Posted(Request[Any, Any, Any]):
    """A request whose body is read as the lean lane reads one: empty is an empty object, unreadable a bad request."""

    async def body(self) -> bytes:
        return await super().body() or b"{}"

    async def json(self) -> Any:
        try:
            return await super().json()
        except (UnicodeDecodeError, RecursionError) as error:
            raise Refused("bad_request", str(error)) from None


def token_guard(service: Service) -> Any:
    """A Litestar guard: a good token, of whatever role (403 comes after 400)."""

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        try:
            authorization = connection.headers.get("authorization", "").encode("latin-1")
            connection.scope["caller"] = service.tokens.caller(authorization)  # type: ignore[typeddict-unknown-key]
        except Unauthenticated as error:
            raise Refused("unauthenticated", str(error)) from None

    return guard


def require_operator(request: Request[Any, Any, Any]) -> int:
    """The operator's uid."""
    caller = request.scope["caller"]  # type: ignore[typeddict-item]
    if caller.role != "operator":
        raise Refused("forbidden", "role operator is required")
    return int(caller.uid)


def uid_of(request: Request[Any, Any, Any], asked: int | None) -> int:
    """The user that a read is about: the token's, or any that a service asks for."""
    caller = request.scope["caller"]  # type: ignore[typeddict-item]
    uid = caller.uid if asked is None else asked
    if not caller.may_act_for(uid):
        raise Refused("forbidden", "the token is another user's")
    return int(uid)


def reply(request: Request[Any, Any, Any], verb: str, answer: Answer, detail: str = "") -> Response[Envelope]:
    """The envelope, for ordinary handlers; the answer is counted."""
    now = monotonic()
    metrics.answered(verb or "other", answer.word, now - request.scope.get("arrived", now))  # type: ignore[operator]
    outcome = OUTCOMES[answer.word]
    text = message(verb, answer.word, language(request.headers.get("accept-language", "")))
    body = Envelope(outcome.status, answer.word, f"{text}: {detail}" if detail else text, answer.data)
    return Response(body, status_code=outcome.http)


def day_of(text: str) -> date:
    try:
        return parse_day(text)
    except ValueError:
        raise Refused("bad_request", "day must be YYYY-MM-DD") from None


def entry_of(text: str) -> str:
    """The id of a quarantined callback."""
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise Refused("bad_request", "entry must be 64 hexadecimal digits")
    return text


async def round_figures(service: Service, day: date) -> Answer:
    """Everything about a round; sums in fen."""
    row = await service.store.one("get_round", day=day)
    if row is None:
        return Answer("round_not_found")
    refunds = await service.store.one("sum_refunds", day=day) or {}
    compared = await service.store.one("last_reconciliation", day=day)
    rules = msgspec.convert(row["rules"], Rules)
    at = windows(day, rules)
    live = await read(service.redis, day, rules.shards)
    alive = row["state"] == "open"
    public = row["state"] in ("settled", "finished", "void")
    return Answer(
        "ok",
        {
            "day": day.isoformat(),
            "state": phase(row["state"], at, service.time.now_ms()),
            "step": row["state"],
            "at": msgspec.to_builtins(at),
            "rules": msgspec.to_builtins(rules),
            "members": live.members if alive else row["members"] or live.members,
            "winners": live.winners if alive else row["winners"] or live.winners,
            "late": live.late if alive else row["late"] or live.late,
            "pool": live.pool_fen if alive else row["pool_fen"] or live.pool_fen,
            "forfeited": row["forfeited_fen"],
            "fee": row["fee_fen"],
            "carried_in": row["carried_in_fen"],
            "carried_out": row["carried_out_fen"],
            "pot": row["pot_fen"],
            "packets": row["winners"] if row["state"] in SPLIT_STATES else 0,
            "packets_published": live.published,
            "packets_published_fen": live.published_fen,
            "packets_claimed": live.claimed,
            "packets_claimed_fen": live.claimed_fen,
            "refunds": refunds["refunds"],
            "refunds_fen": refunds["fen"],
            "unanswered_orders": row["unanswered_orders"],
            "outbox_depth": await outbox.depth(service.redis, day, rules.shards),
            "seed_hash": row["seed_hash"].hex(),
            "seed": row["seed"].hex() if public else None,
            "void_reason": row["void_reason"],
            "reconciled": compared,
        },
    )


async def steps(service: Service, day: date) -> Answer:
    """A round's funnel against time: for each minute in which something happened, its instant and how many users
    ordered, paid, checked in and claimed in it. It follows the outbox."""
    if await service.store.one("get_round", day=day) is None:
        return Answer("round_not_found")
    found = await service.store.all("steps", day=day)
    minutes: dict[int, list[int]] = {}
    for row in found:
        minutes.setdefault(row["minute_ms"], [0] * len(STEPS))[STEPS.index(row["step"])] = row["count"]
    sums = [sum(column) for column in zip(*minutes.values(), strict=True)] or [0] * len(STEPS)
    return Answer(
        "ok",
        {
            "day": day.isoformat(),
            "steps": STEPS,
            "minutes": [[minute_ms, *counts] for minute_ms, counts in sorted(minutes.items())],
            "totals": dict(zip(STEPS, sums, strict=True)),
        },
    )


async def live(service: Service, watch: Watch) -> Answer:
    """What all processes do now, what waits, and what needs a person."""
    seen = await watch.look()
    moving: dict[str, Any] = await traffic(service.redis) if seen.redis else add_up([])
    shown = {**msgspec.to_builtins(seen), "traffic": moving}
    shown["alarms"] = alarms(seen, moving["failed_per_second"])
    shown["now_ms"] = service.time.now_ms() if service.time.known else None
    shown["timezone"] = service.settings.timezone
    return Answer("ok", shown)


async def settle(service: Service, day: date) -> Answer:
    """Settle now what is due; waits for whoever is at it already."""
    try:
        return Answer(await service.settlement.settle(day), {"day": day.isoformat()})
    except BooksDiffer as error:
        log.error("books_differ", day=str(day), error=str(error))
        return Answer("books_differ", {"day": day.isoformat(), "difference": str(error)})


async def void(service: Service, day: date, reason: str) -> Answer:
    try:
        return Answer(await service.settlement.void(day, reason), {"day": day.isoformat()})
    except BooksDiffer as error:
        log.error("books_differ", day=str(day), error=str(error))
        return Answer("books_differ", {"day": day.isoformat(), "difference": str(error)})


async def reconcile(service: Service, day: date | None) -> Answer:
    """Compare a round, or every live one; ``books_agree`` or ``books_differ`` with what does."""
    days = [day] if day else [row["day"] for row in await live_rounds(service)]
    reports = [report for one in days if (report := await compare(service, one)) is not None]
    if not reports:
        return Answer("round_not_found")
    word = "books_differ" if any(report.differences for report in reports) else "books_agree"
    return Answer(word, {"reports": msgspec.to_builtins(reports)})


async def rebuild(service: Service) -> Answer:
    """Recreate in Redis the rounds that it has lost."""
    try:
        return Answer("ok", {"rebuilt": await rebuild_lost(service)})
    except BooksDiffer as error:
        return Answer("books_differ", {"difference": str(error)})


async def outgoing(service: Service, state: str, page: int, limit: int, day: date | None = None) -> Answer:
    """Refunds and payouts, of one round or of all: how many are in which state, and those in one of them."""
    counts = await service.store.all("count_outgoing", day=day)
    found = await service.store.all(
        "list_outgoing", day=day, state=state, stuck=STUCK_ATTEMPTS, limit=limit, offset=(page - 1) * limit
    )
    items = [{**row, "day": row["day"].isoformat()} for row in found]
    return Answer("ok", {"counts": counts, "items": items})


async def unanswered(service: Service, day: date, page: int, limit: int) -> Answer:
    """Unpaid orders of a round of which the channel has not said whether they are paid; it is asked again."""
    if await service.store.one("get_round", day=day) is None:
        return Answer("round_not_found")
    items = await service.store.all("list_unanswered", day=day, limit=limit, offset=(page - 1) * limit)
    return Answer("ok", {"items": items})


async def quarantine(service: Service, page: int, limit: int, waiting: bool = False) -> Answer:
    """Signed callbacks that failed a check, newest first, each with what was decided about it, if anything was."""
    count = await service.store.one("count_quarantine") or {}
    found = await service.store.all("list_quarantine", waiting=waiting, limit=limit, offset=(page - 1) * limit)
    total = count["waiting"] if waiting else count["total"]
    return Answer("ok", {"total": total, "waiting": count["waiting"], "items": [_kept(row) for row in found]})


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    """A quarantined callback as operators see it; ``why_not`` says why its payment cannot be given back."""
    decided = ("action", "why", "by_whom", "released_ms", "amount_fen", "refund_no")
    shown = {name: value for name, value in row.items() if name not in decided}
    payment = payment_of(row["raw"])
    shown |= {"day": row["day"].isoformat(), "raw": row["raw"].decode("utf-8", "replace")}
    shown |= {"transaction_id": payment.transaction_id, "amount": payment.amount_fen, "why_not": payment.why_not}
    shown["released"] = {name: row[name] for name in decided} if row["action"] else None
    return shown


async def release(service: Service, entry: str, request: ReleaseRequest, by_whom: str) -> Answer:
    """Decide about a quarantined callback; ``entry`` is its id in :func:`quarantine`."""
    return await decide(service, entry, request.action, request.reason, by_whom)


async def around(service: Service) -> list[tuple[date, int]]:
    """What has an outbox now: users, the rounds of yesterday and today; as day and number of shards."""
    today = Calendar(service.settings.timezone).day_at(service.time.now_ms())
    rounds = [await service.asking.round(day) for day in (previous(today), today)]
    for one in rounds:
        if not await service.redis.exists(keys.name(one.day, 0, "round")):
            raise Unavailable(f"round {one.day} is not in Redis")
    return [(keys.USERS, 1), *((one.day, one.rules.shards) for one in rounds)]


async def readiness(service: Service) -> tuple[bool, dict[str, Any]]:
    """Redis, Postgres and the worker, and the durability in force.

    Only Redis decides: check-ins go on while Postgres or the worker is away, and the outbox keeps what happened.
    """
    parts: dict[str, Any] = {"redis": False, "postgres": False, "worker": False, "durability": {}}
    try:
        mode = service.settings.durability
        replicas = (await service.redis.info("replication"))["connected_slaves"]
        parts["durability"] = {"mode": mode, "replicas": replicas, **await durability_of(service.redis)}
        parts["outbox"] = await outbox.backlog(service.redis, await around(service))
        parts["redis"] = mode == "fsync" or replicas > 0
        parts["worker"] = bool(await service.redis.exists(keys.HEARTBEAT))
    except (RedisError, OSError, Unavailable) as error:
        log.warning("redis_not_ready", error=str(error))
    try:
        async with asyncio.timeout(PING_SECONDS):
            parts["postgres"] = bool(await service.store.one("ping"))
    except (Unavailable, TimeoutError) as error:
        log.warning("postgres_not_ready", error=str(error))
    ready = parts["redis"]
    return ready, {"ready": ready, **parts}
