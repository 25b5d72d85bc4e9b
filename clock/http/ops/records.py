"""A user's data: copied for them, or emptied."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, JSONBody
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from clock.domain.outcomes import Answer
from clock.http.ordinary import named, reply, some_uid
from clock.http.wire import Envelope, ReasonRequest
from clock.operators.records.forget import forget
from clock.operators.records.own import export_user
from clock.service import Service


def record_routes(service: Service) -> list[ControllerRouterHandler]:
    @post(
        "/ops/people/{uid:int}/forget",
        status_code=200,
        description="Empty a user's nickname, mobile and openId wherever no money needs them; says what is kept, why "
        "and until when.",
    )
    async def forget_user(
        request: Request[Any, Any, Any], uid: FromPath[int], data: JSONBody[ReasonRequest]
    ) -> Response[Envelope]:
        of = some_uid(uid)
        by = named(request, "people")
        return reply(request, "forget", await forget(service, by, of, data.reason))

    @get(
        "/ops/people/{uid:int}/export",
        description="Everything that is kept about a user, as one JSON document. One that breaks off is not whole.",
    )
    async def export(request: Request[Any, Any, Any], uid: FromPath[int]) -> Stream | Response[Envelope]:
        of = some_uid(uid)
        answer, document = await export_user(service, named(request, "people"), of)
        if document is None:
            return reply(request, "export_user", answer)
        reply(request, "export_user", Answer("ok"))  # counts it
        headers = {"content-disposition": f'attachment; filename="user-{of}.json"', "cache-control": "no-store"}
        return Stream(document, media_type="application/json", headers=headers)

    return [forget_user, export]
