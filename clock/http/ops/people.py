"""Persons, and what operators did. A mobile is masked except for who may move money."""

import re
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.types import ControllerRouterHandler

from clock.http.ordinary import Limit, Page, day_of, named, reply, require_operator, some_uid
from clock.http.refusals import Refused
from clock.http.wire import Envelope, ReasonRequest
from clock.operators import acts, people, verbs
from clock.service import Service

Sought = Annotated[
    str,
    QueryParameter(
        name="q",
        description="A uid, mobile or openId, or the number of an order, a payout, a withdrawal, a failed refund or a "
        "transaction",
    ),
]
About = Annotated[str | None, QueryParameter(max_length=64, description="The day, number or id that acts are about")]
Who = Annotated[str | None, QueryParameter(max_length=200, description="The name of who acted")]
After = Annotated[int, QueryParameter(ge=0, lt=1 << 53, description="Members after this uid")]


def people_routes(service: Service) -> list[ControllerRouterHandler]:
    @get("/ops/find", description="At most 20 users by a number that they can tell.")
    async def find(request: Request[Any, Any, Any], sought: Sought) -> Response[Envelope]:
        text = plain(sought, "q").strip()
        if not 0 < len(text) <= 128:
            raise Refused("bad_request", "must have 1 to 128 characters - at `q`")
        caller = require_operator(request)
        return reply(request, "find", await people.find(service, text, "money" in caller.scopes))

    @get(
        "/ops/people/{uid:int}",
        description="A user's profile and sums, and all about 30 rounds, the newest first.",
    )
    async def story(request: Request[Any, Any, Any], uid: FromPath[int], page: Page = 1) -> Response[Envelope]:
        some_uid(uid)
        caller = require_operator(request)
        return reply(request, "story", await people.story(service, uid, page, "money" in caller.scopes))

    @post(
        "/ops/people/{uid:int}/withdraw",
        status_code=200,
        description="Send a user's whole balance, as the user could. Where a channel wants the user to confirm, only "
        "the user can.",
    )
    async def withdraw(
        request: Request[Any, Any, Any], uid: FromPath[int], data: JSONBody[ReasonRequest]
    ) -> Response[Envelope]:
        some_uid(uid)
        by = named(request, "money")
        return reply(request, "withdraw_for", await verbs.withdraw(service, by, uid, data.reason))

    @get(
        "/ops/lookalikes/{day:str}",
        description="Of 2,000 members of a round: who shares a mobile or an openId with other users, and who checks in "
        "like clockwork. It decides nothing. Ask again with the answer's `after`, until it is null.",
    )
    async def lookalikes(request: Request[Any, Any, Any], day: FromPath[str], after: After = 0) -> Response[Envelope]:
        of = day_of(day)
        require_operator(request)
        return reply(request, "lookalikes", await people.lookalikes(service.store, of, after))

    @get("/ops/actions", description="What operators did, newest first, with what became of it.")
    async def actions(
        request: Request[Any, Any, Any],
        about: About = None,
        who: Who = None,
        page: Page = 1,
        limit: Limit = 50,
    ) -> Response[Envelope]:
        for name, text in (("about", about), ("who", who)):
            plain(text or "", name)
        require_operator(request)
        return reply(request, "actions", await acts.listed(service, page, limit, about, who))

    return [find, story, withdraw, lookalikes, actions]


def plain(text: str, name: str) -> str:
    """Text that Postgres can store and people can read."""
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", text):
        raise Refused("bad_request", f"no control characters - at `{name}`")
    return text
