"""The lower baseline: a plain implementation, not optimised for 05:00. Litestar's own handlers and JWTAuth, and one
EVALSHA a request through a pool; the scripts, their keys and the answers are the service's."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from time import time
from typing import Any

from litestar import Litestar, Request, post
from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.security.jwt import JWTAuth, Token
from redis.asyncio import Redis

from clock.channels.platform import PaymentCallback, instant_of
from clock.channels.webhooks import Signatures
from clock.config import load
from clock.domain import order_no
from clock.domain.outcomes import OUTCOMES, message
from clock.domain.rounds import parse_day
from clock.game import keys
from clock.game.client.calls import call
from clock.game.gametime import SKEW_MS
from clock.game.scripts import Value, of_users
from clock.game.scripts import load as load_script
from clock.game.totals import read
from clock.http.wire import CheckInRequest, ClaimRequest, Envelope, JoinRequest
from clock.payments.incoming import readable

CHECK_IN, CLAIM, JOIN, PAY = (load_script(verb) for verb in ("check_in", "claim", "join", "pay"))


def expected_ms() -> int:
    """The game's time; this service takes its own clock for Redis'."""
    return int(time() * 1000)


def reply(verb: str, word: str, data: dict[str, Any]) -> Envelope:
    return Envelope(OUTCOMES[word].status, word, message(verb, word, "zh"), data)


def own(request: Request[int, Token, Any], uid: int) -> None:
    if request.user != uid:
        raise PermissionDeniedException


def create_app() -> Litestar:
    settings = load(os.environ)
    today, yesterday = (parse_day(os.environ[name]) for name in ("BENCH_TODAY", "BENCH_YESTERDAY"))
    redis: Any = Redis.from_url(settings.redis_url)
    redis.replicated = False
    signatures = Signatures(settings.webhook_secret)

    async def run(script: Any, day: date, fixed: Sequence[Value], user: Sequence[Value]) -> Any:
        names = keys.names(day, 0, script.nouns)
        return (await call(redis, script, names, ["", expected_ms(), SKEW_MS, *fixed, *of_users(script, [user])]))[1]

    @post("/api/check-in", status_code=200)
    async def check_in(request: Request[int, Token, Any], data: CheckInRequest) -> Envelope:
        own(request, data.uid)
        result = await run(CHECK_IN, yesterday, [], [data.uid, 0])
        word = "checked_in" if isinstance(result, int) else result.decode()
        return reply("check_in", word, {"money": (await read(redis, yesterday, 1)).pool_fen})

    @post("/api/claim", status_code=200)
    async def claim(request: Request[int, Token, Any], data: ClaimRequest) -> Envelope:
        own(request, data.uid)
        word, packet, stake = await run(CLAIM, yesterday, ["user"], [data.uid, 0])
        return reply("claim", word.decode(), {"assign": {"money": packet, "stake": stake, "total": packet + stake}})

    @post("/api/join", status_code=200)
    async def join(request: Request[int, Token, Any], data: JoinRequest) -> Envelope:
        own(request, data.uid)
        tail = order_no.new_tail()
        number = order_no.make(settings.order_prefix, order_no.Place(today, 0, data.uid, tail))
        extra = data.extra
        args: list[Value] = [data.uid, 0, number, tail, extra.openId or "", extra.mobile or "", extra.nickname or ""]
        word, order_id, _ = await run(JOIN, today, ["one"], args)
        pay = {"channel": "platform", "order_no": number, "amount": settings.stake_fen}
        return reply("join", word.decode(), {"order_id": order_id, "order_no": number, "amount": 100, "pay": pay})

    @post("/callbacks/platform", status_code=200, exclude_from_auth=True)
    async def pay(request: Request[Any, Any, Any], data: PaymentCallback) -> Envelope:
        raw = await request.body()
        signatures.verify(raw, dict(request.headers))
        place = order_no.parse(settings.order_prefix, data.order_no)
        assert place is not None
        paid = data.extra
        paid_at = instant_of(paid.notify_time, settings.timezone)
        args: list[Value] = [place.uid, 0, data.order_no, place.tail, paid.amount or 0, paid.transactionId or ""]
        args += [paid.buyerId or "", paid_at, "platform", readable(raw)]
        return reply("pay", (await run(PAY, place.day, [], args)).decode(), {})

    async def user_of(token: Token, _: ASGIConnection[Any, Any, Any, Any]) -> int:
        return int(token.sub)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        yield
        await redis.aclose()

    auth = JWTAuth[int](retrieve_user_handler=user_of, token_secret=settings.jwt_secret, exclude=["/schema"])
    return Litestar([check_in, claim, join, pay], on_app_init=[auth.on_app_init], lifespan=[lifespan])
