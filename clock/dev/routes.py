"""Paths of development: the moved clock, tokens without a password, payment by the sandbox provider."""

from typing import Annotated, Literal

import msgspec
from litestar.types import ControllerRouterHandler

from clock.dev import time_travel
from clock.domain.outcomes import Answer
from clock.http.lane import Call, Endpoint, for_anyone, route
from clock.http.refusals import Refused
from clock.http.wire import Uid
from clock.service import Service


class MoveTime(msgspec.Struct, frozen=True):
    """RFC 3339, with an offset."""

    now: str


class TokenRequest(msgspec.Struct, frozen=True):
    """``name``: of a service or an operator, in place of the uid. ``scope``: an operator's rights; none: all."""

    uid: Uid | None = None
    role: Literal["user", "service", "operator"] = "user"
    name: Annotated[str, msgspec.Meta(max_length=64)] = ""
    scope: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class PayRequest(msgspec.Struct, frozen=True):
    order_no: Annotated[str, msgspec.Meta(max_length=64)]


class ConfirmRequest(msgspec.Struct, frozen=True):
    """``no``: of a withdrawal."""

    no: Annotated[str, msgspec.Meta(max_length=64)]


def dev_routes(service: Service) -> list[ControllerRouterHandler]:
    async def move(request: MoveTime, _: Call) -> Answer:
        return await time_travel.move_time(service, request.now)

    async def come_back(_: None, __: Call) -> Answer:
        return await time_travel.move_time(service, None)

    async def token(request: TokenRequest, _: Call) -> Answer:
        sub = request.name or request.uid
        if sub is None:
            raise Refused("bad_request", "uid or name is required")
        return Answer("ok", {"token": service.tokens.issue(sub, request.role, scope=request.scope)})

    async def pay(request: PayRequest, _: Call) -> Answer:
        return await time_travel.pay(service, request.order_no)

    async def confirm(request: ConfirmRequest, _: Call) -> Answer:
        return await time_travel.confirm(service, request.no)

    return [
        route("/dev/time", "dev_time", {"PUT": for_anyone(MoveTime, move), "DELETE": Endpoint(come_back)}),
        route("/dev/token", "dev_token", {"POST": for_anyone(TokenRequest, token)}),
        route("/dev/pay", "dev_pay", {"POST": for_anyone(PayRequest, pay)}),
        route("/dev/confirm", "dev_confirm", {"POST": for_anyone(ConfirmRequest, confirm)}),
    ]
