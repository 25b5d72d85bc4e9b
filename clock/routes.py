"""Every path of the contract: one short function each."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar import MediaType, Request, Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler
from prometheus_client import CONTENT_TYPE_LATEST

from clock import dev, me, metrics, ops
from clock.channels import BadSignature, Channel
from clock.hot import Call, Endpoint, Lane, Refused, decoder, for_anyone, for_caller, route
from clock.outcomes import Answer, language
from clock.service import Service
from clock.wire import (
    CheckInRequest,
    CheckInStatusRequest,
    ClaimRequest,
    Envelope,
    JoinRequest,
    MoveTime,
    PaymentCallback,
    PayRequest,
    SummaryRequest,
    TokenRequest,
    VoidRequest,
)


def user_routes(service: Service, lane: Lane) -> list[ControllerRouterHandler]:
    """What users do, and the callback that makes them members."""
    game, channel = service.game, service.channels[service.settings.channel]

    async def summary(request: SummaryRequest, call: Call) -> Answer:
        return await game.summary(request.uid, request.extra, call.arrived)

    async def guest_summary(call: Call) -> Answer:
        return await game.summary(None, None, call.arrived)

    async def join(request: JoinRequest, call: Call) -> Answer:
        answer = await game.join(request.uid, request.extra, call.arrived)
        if "order_no" in answer.data:
            answer.data["pay"] = channel.pay_with(answer.data["order_no"], answer.data["amount"])
        return answer

    async def check_in_status(request: CheckInStatusRequest, call: Call) -> Answer:
        return await game.check_in_status(request.uid, call.arrived)

    async def check_in(request: CheckInRequest, call: Call) -> Answer:
        return await game.check_in(request.uid, call.arrived)

    async def claim(request: ClaimRequest, call: Call) -> Answer:
        return await game.claim(request.uid, call.arrived)

    return [
        route(
            "/api/summary",
            "summary",
            POST=for_caller(lane, SummaryRequest, summary),
            GET=Endpoint(guest_summary),
        ),
        route("/api/join", "join", POST=for_caller(lane, JoinRequest, join)),
        route(
            "/api/check-in/status",
            "check_in_status",
            POST=for_caller(lane, CheckInStatusRequest, check_in_status),
        ),
        route("/api/check-in", "check_in", POST=for_caller(lane, CheckInRequest, check_in)),
        route("/api/claim", "claim", POST=for_caller(lane, ClaimRequest, claim)),
        *(
            route(f"/callbacks/{name}", f"pay_{name}", POST=Endpoint(callback(service, paid_by), PaymentCallback))
            for name, paid_by in service.channels.items()
        ),
    ]


def callback(service: Service, channel: Channel) -> Callable[[Call], Awaitable[Answer]]:
    """Signature first, over the raw body; then everything is kept, whatever it says."""
    decode = decoder(PaymentCallback)

    async def taken(call: Call) -> Answer:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers.items()}
        try:
            channel.verify(call.raw, headers)
        except BadSignature:
            raise Refused("bad_signature") from None
        try:
            request = decode(call.raw)
        except Refused:
            await service.game.quarantine(channel.name, "malformed", "", call.raw, call.arrived)
            raise
        return await service.game.pay(request, channel.name, call.raw, call.arrived)

    return taken


def signed_in(service: Service, *handlers: ControllerRouterHandler) -> list[ControllerRouterHandler]:
    """Ordinary handlers that need a token: 413, then 401, then what the handler says."""
    return [Router("/", route_handlers=handlers, middleware=[ops.bounded], guards=[ops.token_guard(service)])]


def ops_routes(service: Service) -> list[ControllerRouterHandler]:
    """What operators do: ordinary handlers."""

    @post("/ops/rounds/{day:str}/settle", status_code=200, responses=ops.RESPONSES)
    async def settle(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
        of = ops.day_of(day)
        ops.require_operator(request)
        return ops.reply(request, "settle", await ops.settle(service, of))

    @post("/ops/rounds/{day:str}/void", status_code=200, responses=ops.RESPONSES)
    async def void(
        request: Request[Any, Any, Any], day: FromPath[str], data: JSONBody[VoidRequest]
    ) -> Response[Envelope]:
        of = ops.day_of(day)
        ops.require_operator(request)
        return ops.reply(request, "void", await ops.void(service, of, data.reason))

    @get("/ops/rounds/{day:str}", responses=ops.RESPONSES)
    async def round_figures(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
        of = ops.day_of(day)
        ops.require_operator(request)
        return ops.reply(request, "round", await ops.round_figures(service, of))

    @get("/ops/quarantine", responses=ops.RESPONSES)
    async def quarantine(
        request: Request[Any, Any, Any], page: ops.Page = 1, limit: ops.Limit = 50
    ) -> Response[Envelope]:
        ops.require_operator(request)
        return ops.reply(request, "quarantine", await ops.quarantine(service, page, limit))

    @get("/ops/reconcile/{day:str}", responses=ops.RESPONSES)
    async def reconcile(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
        of = ops.day_of(day)
        ops.require_operator(request)
        return ops.reply(request, "reconcile", await ops.reconcile(service, of))

    @get("/ops/outgoing", responses=ops.RESPONSES)
    async def outgoing(
        request: Request[Any, Any, Any],
        which: ops.OutgoingState = "failed",
        page: ops.Page = 1,
        limit: ops.Limit = 50,
    ) -> Response[Envelope]:
        ops.require_operator(request)
        return ops.reply(request, "outgoing", await ops.outgoing(service, which, page, limit))

    @get("/ops/unanswered/{day:str}", responses=ops.RESPONSES)
    async def unanswered(
        request: Request[Any, Any, Any], day: FromPath[str], page: ops.Page = 1, limit: ops.Limit = 50
    ) -> Response[Envelope]:
        of = ops.day_of(day)
        ops.require_operator(request)
        return ops.reply(request, "unanswered", await ops.unanswered(service, of, page, limit))

    return signed_in(service, settle, void, round_figures, quarantine, reconcile, outgoing, unanswered)


def me_routes(service: Service) -> list[ControllerRouterHandler]:
    """What a user reads of their own; a service says of whom with ``?uid=``."""

    @get("/api/me", responses=ops.RESPONSES)
    async def my_info(request: Request[Any, Any, Any], uid: ops.AskedUid = None) -> Response[Envelope]:
        return ops.reply(request, "me", await me.info(service, ops.uid_of(request, uid)))

    @get("/api/me/history", responses=ops.RESPONSES)
    async def my_history(
        request: Request[Any, Any, Any], uid: ops.AskedUid = None, page: ops.Page = 1, limit: ops.Limit = 20
    ) -> Response[Envelope]:
        tongue = language(request.headers.get("accept-language", ""))
        answer = await me.history(service, ops.uid_of(request, uid), page, limit, tongue)
        return ops.reply(request, "history", answer)

    return signed_in(service, my_info, my_history)


def health_routes(service: Service) -> list[ControllerRouterHandler]:
    """For load balancers and Prometheus."""

    @get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @get("/readyz", responses={503: ResponseSpec(dict[str, Any], description="It should get no traffic")})
    async def readyz() -> Response[dict[str, Any]]:
        ready, parts = await ops.readiness(service)
        return Response(parts, status_code=200 if ready else 503)

    @get("/metrics", media_type=MediaType.TEXT)
    async def metrics_text() -> Response[bytes]:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return [healthz, readyz, metrics_text]


def dev_routes(service: Service) -> list[ControllerRouterHandler]:
    """Only where ``CLOCK_ENV=dev``: these paths do not exist otherwise."""

    async def move(request: MoveTime, _: Call) -> Answer:
        return await dev.move_time(service, request.now)

    async def come_back(_: Call) -> Answer:
        return await dev.move_time(service, None)

    async def token(request: TokenRequest, _: Call) -> Answer:
        return Answer("ok", {"token": service.tokens.issue(request.uid, request.role)})

    async def pay(request: PayRequest, _: Call) -> Answer:
        return await dev.pay(service, request.order_no)

    return [
        route("/dev/time", "dev_time", PUT=for_anyone(MoveTime, move), DELETE=Endpoint(come_back)),
        route("/dev/token", "dev_token", POST=for_anyone(TokenRequest, token)),
        route("/dev/pay", "dev_pay", POST=for_anyone(PayRequest, pay)),
    ]
