"""Every path of the contract: one short function each."""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from litestar import MediaType, Request, Response, Router, get, post
from litestar.handlers import ASGIRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler
from prometheus_client import CONTENT_TYPE_LATEST

from clock import metrics
from clock.channels import BadSignature, Channel
from clock.dev import time_travel
from clock.domain.outcomes import Answer, language
from clock.domain.shapes import PaymentCallback
from clock.http import me, public
from clock.http.lane import Call, Endpoint, Lane, OfUser, Refused, Run, decoder, for_anyone, for_caller, route
from clock.http.wire import (
    AckAlertRequest,
    CheckInRequest,
    CheckInStatusRequest,
    ClaimRequest,
    Envelope,
    JoinRequest,
    MoveTime,
    PayRequest,
    ReleaseRequest,
    RemindRequest,
    SummaryRequest,
    TokenRequest,
    VoidRequest,
)
from clock.operators import ops
from clock.operators.watch import Watch, measured
from clock.service import Service


def user_routes(service: Service, lane: Lane) -> list[ControllerRouterHandler]:
    """What users do, and the callback that makes them members."""
    verbs, home, flags, channel = service.verbs, service.home, service.flags, service.channels[service.settings.channel]

    async def join(request: JoinRequest, call: Call) -> Answer:
        answer = await verbs.join(request.uid, request.extra, call.arrived)
        if "order_no" in answer.data:
            answer.data["pay"] = channel.pay_with(answer.data["order_no"], answer.data["amount"])
        return answer

    def of(path: str, verb: str, request_type: type[OfUser], run: Run[OfUser], **more: Endpoint) -> ASGIRouteHandler:
        return route(path, verb, POST=for_caller(lane, request_type, run), **more)

    return [
        of(
            "/api/summary",
            "summary",
            SummaryRequest,
            lambda asked, call: home.summary(asked.uid, asked.extra, call.arrived),
            GET=Endpoint(lambda call: home.summary(None, None, call.arrived)),
        ),
        of("/api/join", "join", JoinRequest, join),
        of(
            "/api/check-in/status",
            "check_in_status",
            CheckInStatusRequest,
            lambda asked, call: verbs.check_in_status(asked.uid, call.arrived),
        ),
        of("/api/check-in", "check_in", CheckInRequest, lambda asked, call: verbs.check_in(asked.uid, call.arrived)),
        of("/api/claim", "claim", ClaimRequest, lambda asked, call: verbs.claim(asked.uid, call.arrived)),
        of(
            "/api/remind",
            "remind",
            RemindRequest,
            lambda asked, call: flags.remind(asked.uid, asked.on, call.arrived),
        ),
        of(
            "/api/alert/ack",
            "ack_alert",
            AckAlertRequest,
            lambda asked, call: flags.ack_alert(asked.uid, call.arrived),
        ),
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
            await service.incoming.quarantine(channel.name, "malformed", "", call.raw, call.arrived)
            raise
        return await service.incoming.pay(request, channel.name, call.raw, call.arrived)

    return taken


def signed_in(service: Service, *handlers: ControllerRouterHandler) -> list[ControllerRouterHandler]:
    """Ordinary handlers that need a token: 413, then 401, then what the handler says."""
    return [
        Router(
            "/",
            route_handlers=handlers,
            middleware=[ops.bounded],
            guards=[ops.token_guard(service)],
            request_class=ops.Posted,
            security=[{"bearer": []}],
            response_headers={"Cache-Control": "no-store"},
        )
    ]


def ops_routes(service: Service, watch: Watch) -> list[ControllerRouterHandler]:
    """What operators see and do: ordinary handlers."""
    of_rounds, of_money = round_routes(service), money_routes(service)

    @get(
        "/ops/live",
        responses=ops.RESPONSES,
        description="What happens now in all processes, what waits, and the alarms: what needs a person.",
    )
    async def live(request: Request[Any, Any, Any]) -> Response[Envelope]:
        ops.require_operator(request)
        return ops.reply(request, "live", await ops.live(service, watch))

    return signed_in(service, live, *of_rounds, *of_money)


def round_routes(service: Service) -> list[ControllerRouterHandler]:
    """One round: its figures, its steps, and what ends it."""

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

    @get(
        "/ops/steps/{day:str}",
        responses=ops.RESPONSES,
        description="How many users ordered, paid, checked in and claimed, minute by minute; follows the outbox.",
    )
    async def steps(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
        of = ops.day_of(day)
        ops.require_operator(request)
        return ops.reply(request, "steps", await ops.steps(service, of))

    @get("/ops/reconcile/{day:str}", responses=ops.RESPONSES)
    async def reconcile(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
        of = ops.day_of(day)
        ops.require_operator(request)
        return ops.reply(request, "reconcile", await ops.reconcile(service, of))

    return [settle, void, round_figures, steps, reconcile]


def money_routes(service: Service) -> list[ControllerRouterHandler]:
    """Money that waits for a provider or a person."""

    @get("/ops/quarantine", responses=ops.RESPONSES)
    async def quarantine(
        request: Request[Any, Any, Any], waiting: ops.Waiting = False, page: ops.Page = 1, limit: ops.Limit = 50
    ) -> Response[Envelope]:
        ops.require_operator(request)
        return ops.reply(request, "quarantine", await ops.quarantine(service, page, limit, waiting))

    @post(
        "/ops/quarantine/{entry:str}/release",
        status_code=200,
        responses=ops.RESPONSES,
        description="Decide about a quarantined callback once: owe its payment back, or answered otherwise.",
    )
    async def release(
        request: Request[Any, Any, Any], entry: FromPath[str], data: JSONBody[ReleaseRequest]
    ) -> Response[Envelope]:
        one = ops.entry_of(entry)
        by_whom = f"operator {ops.require_operator(request)}"
        return ops.reply(request, "release", await ops.release(service, one, data, by_whom))

    @get("/ops/outgoing", responses=ops.RESPONSES)
    async def outgoing(
        request: Request[Any, Any, Any],
        which: ops.OutgoingState = "failed",
        day: ops.AskedDay = None,
        page: ops.Page = 1,
        limit: ops.Limit = 50,
    ) -> Response[Envelope]:
        of = None if day is None else ops.day_of(day)
        ops.require_operator(request)
        return ops.reply(request, "outgoing", await ops.outgoing(service, which, page, limit, of))

    @get("/ops/unanswered/{day:str}", responses=ops.RESPONSES)
    async def unanswered(
        request: Request[Any, Any, Any], day: FromPath[str], page: ops.Page = 1, limit: ops.Limit = 50
    ) -> Response[Envelope]:
        of = ops.day_of(day)
        ops.require_operator(request)
        return ops.reply(request, "unanswered", await ops.unanswered(service, of, page, limit))

    return [quarantine, release, outgoing, unanswered]


def me_routes(service: Service, lane: Lane) -> list[ControllerRouterHandler]:
    """What a user reads of their own; a service says of whom with ``?uid=``. Counted together with the user's verbs."""

    def whose(request: Request[Any, Any, Any], asked: int | None) -> int:
        uid = ops.uid_of(request, asked)
        lane.rate.check(uid, monotonic())
        return uid

    @get("/api/me", responses=ops.RESPONSES)
    async def my_info(request: Request[Any, Any, Any], uid: ops.AskedUid = None) -> Response[Envelope]:
        return ops.reply(request, "me", await me.info(service, whose(request, uid)))

    @get("/api/me/history", responses=ops.RESPONSES)
    async def my_history(
        request: Request[Any, Any, Any], uid: ops.AskedUid = None, page: ops.Page = 1, limit: ops.Limit = 20
    ) -> Response[Envelope]:
        tongue = language(request.headers.get("accept-language", ""))
        answer = await me.history(service, whose(request, uid), page, limit, tongue)
        return ops.reply(request, "history", answer)

    @get("/api/me/yesterday", responses=ops.RESPONSES)
    async def my_yesterday(request: Request[Any, Any, Any], uid: ops.AskedUid = None) -> Response[Envelope]:
        answer = await service.verbs.yesterday(whose(request, uid), monotonic())
        return ops.reply(request, "yesterday", answer)

    return signed_in(service, my_info, my_history, my_yesterday)


def public_routes(service: Service) -> list[ControllerRouterHandler]:
    """What anybody may read: no token, nothing personal but masked numbers."""

    @get("/api/talents", responses=public.RESPONSES)
    async def talents(request: Request[Any, Any, Any]) -> Response[Envelope]:
        return ops.reply(request, "talents", await public.talents(service))

    @get("/api/board", responses=public.RESPONSES)
    async def board(request: Request[Any, Any, Any], page: ops.Page = 1, limit: ops.Limit = 20) -> Response[Envelope]:
        return ops.reply(request, "board", await public.board(service, page, limit))

    @get("/api/rounds/{day:str}", responses=public.RESPONSES)
    async def public_round(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
        return ops.reply(request, "public_round", await public.figures(service, ops.day_of(day)))

    @get("/api/rounds/{day:str}/packets", responses=public.RESPONSES)
    async def packets(
        request: Request[Any, Any, Any], day: FromPath[str], page: ops.Page = 1, limit: public.PacketLimit = 1000
    ) -> Response[Envelope]:
        return ops.reply(request, "public_round", await public.packets(service, ops.day_of(day), page, limit))

    return [Router("/", route_handlers=[talents, board, public_round, packets], middleware=[ops.bounded])]


def health_routes(service: Service, watch: Watch) -> list[ControllerRouterHandler]:
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
        return Response(metrics.exposition(measured(await watch.look())), media_type=CONTENT_TYPE_LATEST)

    return [healthz, readyz, metrics_text]


def dev_routes(service: Service) -> list[ControllerRouterHandler]:
    """Only where ``CLOCK_ENV=dev``: these paths do not exist otherwise."""

    async def move(request: MoveTime, _: Call) -> Answer:
        return await time_travel.move_time(service, request.now)

    async def come_back(_: Call) -> Answer:
        return await time_travel.move_time(service, None)

    async def token(request: TokenRequest, _: Call) -> Answer:
        return Answer("ok", {"token": service.tokens.issue(request.uid, request.role)})

    async def pay(request: PayRequest, _: Call) -> Answer:
        return await time_travel.pay(service, request.order_no)

    return [
        route("/dev/time", "dev_time", PUT=for_anyone(MoveTime, move), DELETE=Endpoint(come_back)),
        route("/dev/token", "dev_token", POST=for_anyone(TokenRequest, token)),
        route("/dev/pay", "dev_pay", POST=for_anyone(PayRequest, pay)),
    ]
