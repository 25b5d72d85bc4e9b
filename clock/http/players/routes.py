"""Players' paths over HTTP: the verbs of the lean lane, and ordinary handlers."""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from litestar import Request, Response, Router, get, post
from litestar.handlers import ASGIRouteHandler
from litestar.params import FromPath, JSONBody
from litestar.types import ControllerRouterHandler

from clock.domain import order_no
from clock.domain.outcomes import Answer, language
from clock.game.batch import Waiter
from clock.game.verbs import Finish
from clock.http import pages
from clock.http.lane import AtOnce, Call, Endpoint, Lane, OfUser, Run, for_caller, route
from clock.http.ordinary import AskedUid, Limit, Page, bounded, day_of, reply, signed_in, uid_of
from clock.http.players import me, public
from clock.http.refusals import Refused
from clock.http.wire import (
    AckAlertRequest,
    CheckInRequest,
    CheckInStatusRequest,
    ClaimRequest,
    Envelope,
    JoinRequest,
    PayOrderRequest,
    RemindRequest,
    SummaryRequest,
    UserRequest,
    WithdrawRequest,
)
from clock.service import Service


def user_routes(service: Service, lane: Lane) -> list[ControllerRouterHandler]:
    """The verbs of the lane."""
    verbs, home, flags = service.verbs, service.home, service.flags

    async def join(request: JoinRequest, call: Call) -> Answer:
        name = request.channel or service.settings.channel
        if name not in service.channels:
            raise Refused("bad_request", f"there is no channel {name} here - at `$.channel`")
        answer = await verbs.join(request.uid, request.extra, call.arrived, name)
        if "order_no" in answer.data:
            answer.data["pay"] = _pay_with(service, answer.data["order_no"], answer.data["amount"])
        return answer

    home.to_all = {
        "page": pages.document(service.settings).version,
        "way": "pull" if service.channels[service.settings.channel].pulls else "push",
    }

    def of(
        path: str, verb: str, request_type: type[OfUser], run: Run[OfUser], at_once: AtOnce[OfUser] | None = None
    ) -> ASGIRouteHandler:
        return route(path, verb, {"POST": for_caller(lane, request_type, run, at_once)})

    def by_uid(verb: Callable[[int, float], Awaitable[Answer]]) -> Run[UserRequest]:
        return lambda asked, call: verb(asked.uid, call.arrived)

    def claim_at_once(waiter: Waiter, asked: ClaimRequest, arrived: float) -> Finish | None:
        return verbs.claim_at_once(waiter, asked.uid, arrived)

    def check_in_at_once(waiter: Waiter, asked: CheckInRequest, arrived: float) -> Finish | None:
        return verbs.check_in_at_once(waiter, asked.uid, arrived, asked.receipt)

    async def check_in(asked: CheckInRequest, call: Call) -> Answer:
        return await verbs.check_in(asked.uid, call.arrived, asked.receipt)

    async def remind(asked: RemindRequest, call: Call) -> Answer:
        return await flags.remind(asked.uid, asked.on, call.arrived)

    def summary_at_once(waiter: Waiter, asked: SummaryRequest, arrived: float) -> Finish | None:
        return None if asked.extra else home.summary_at_once(waiter, asked.uid, arrived)

    async def summary(asked: SummaryRequest, call: Call) -> Answer:
        return await home.summary(asked.uid, asked.extra, call.arrived)

    summary_of = for_caller(lane, SummaryRequest, summary, summary_at_once)
    summary_of_guest = Endpoint(lambda _, call: home.summary(None, None, call.arrived), kept_s=public.SUMMARY_KEPT_S)
    return [
        route("/api/summary", "summary", {"POST": summary_of, "GET": summary_of_guest}),
        of("/api/join", "join", JoinRequest, join),
        of("/api/check-in/status", "check_in_status", CheckInStatusRequest, by_uid(verbs.check_in_status)),
        of("/api/check-in", "check_in", CheckInRequest, check_in, check_in_at_once),
        of("/api/claim", "claim", ClaimRequest, by_uid(verbs.claim), claim_at_once),
        of("/api/remind", "remind", RemindRequest, remind),
        of("/api/alert/ack", "ack_alert", AckAlertRequest, by_uid(flags.ack_alert)),
    ]


def _pay_with(service: Service, number: str, amount_fen: int) -> dict[str, Any]:
    """What the client needs to pay, or the path where it gets that: the provider's speed is not joining's. An order
    that was there keeps its channel."""
    place = order_no.place_of(number)
    assert place is not None
    channel = service.channels.get(place.channel)
    at_once = channel.pay_at_once(number, amount_fen) if channel else None
    return at_once or {"channel": place.channel, "call": "/api/pay"}


def me_routes(service: Service, lane: Lane) -> list[ControllerRouterHandler]:
    """A user's own data; a service names the user with ``?uid=``. Counts towards the user's rate limit."""

    def whose(request: Request[Any, Any, Any], asked: int | None) -> int:
        uid = uid_of(request, asked)
        lane.rate.check(uid, monotonic())
        return uid

    @post("/api/pay", status_code=200)
    async def pay(request: Request[Any, Any, Any], data: JSONBody[PayOrderRequest]) -> Response[Envelope]:
        """The address is the payer's: some providers want to know it."""
        uid = whose(request, data.uid)
        address = request.client.host if request.client else ""
        return reply(request, "pay", await service.paying.pay(uid, data.order_no, data.how, address))

    @post("/api/withdraw", status_code=200)
    async def withdraw(request: Request[Any, Any, Any], data: JSONBody[WithdrawRequest]) -> Response[Envelope]:
        uid, today = whose(request, data.uid), service.asking.calendar.day_at(service.time.now_ms())
        return reply(request, "withdraw", await service.withdrawals.withdraw(uid, today))

    @get("/api/me")
    async def my_info(request: Request[Any, Any, Any], uid: AskedUid = None) -> Response[Envelope]:
        return reply(request, "me", await me.info(service, whose(request, uid)))

    @get("/api/me/history")
    async def my_history(
        request: Request[Any, Any, Any], uid: AskedUid = None, page: Page = 1, limit: Limit = 20
    ) -> Response[Envelope]:
        tongue = language(request.headers.get("accept-language", ""))
        answer = await me.history(service, whose(request, uid), page, limit, tongue)
        return reply(request, "history", answer)

    @get("/api/me/yesterday")
    async def my_yesterday(request: Request[Any, Any, Any], uid: AskedUid = None) -> Response[Envelope]:
        answer = await service.verbs.yesterday(whose(request, uid), monotonic())
        return reply(request, "yesterday", answer)

    @get("/api/me/place/{day:str}")
    async def my_place(request: Request[Any, Any, Any], day: FromPath[str], uid: AskedUid = None) -> Response[Envelope]:
        of = day_of(day)
        return reply(request, "public_round", await me.place(service, whose(request, uid), of))

    return signed_in(service.tokens, pay, withdraw, my_info, my_history, my_yesterday, my_place)


def public_routes(service: Service) -> list[ControllerRouterHandler]:
    """Reads without a token; the only personal data is masked numbers."""

    @get("/api/talents")
    async def talents(request: Request[Any, Any, Any]) -> Response[Envelope]:
        return reply(request, "talents", await public.talents(service), kept_s=public.KEPT_S)

    @get("/api/board")
    async def board(request: Request[Any, Any, Any], page: Page = 1, limit: Limit = 20) -> Response[Envelope]:
        return reply(request, "board", await public.board(service, page, limit), kept_s=public.KEPT_S)

    @get("/api/rounds/{day:str}")
    async def public_round(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
        answer = await public.figures(service, day_of(day))
        return reply(request, "public_round", answer, kept_s=public.figures_kept_s(answer))

    @get("/api/rounds/{day:str}/packets")
    async def packets(
        request: Request[Any, Any, Any], day: FromPath[str], page: Page = 1, limit: public.PacketLimit = 1000
    ) -> Response[Envelope]:
        answer = await public.packets(service, day_of(day), page, limit)
        return reply(request, "public_round", answer, kept_s=public.KEPT_S)

    @get("/api/rounds/{day:str}/proof")
    async def proof(request: Request[Any, Any, Any], day: FromPath[str]) -> Response[Envelope]:
        answer = await public.proof(service, day_of(day))
        return reply(request, "proof", answer, kept_s=public.proof_kept_s(answer))

    return [Router("/", route_handlers=[talents, board, public_round, packets, proof], middleware=[bounded])]
