"""A round's books as a file."""

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream
from litestar.types import ControllerRouterHandler

from clock.domain.outcomes import Answer
from clock.http.ordinary import day_of, named, reply
from clock.http.wire import Envelope
from clock.operators import verbs
from clock.operators.export import What
from clock.service import Service

Asked = Annotated[What, QueryParameter(name="what")]


def export_routes(service: Service) -> list[ControllerRouterHandler]:
    @get(
        "/ops/rounds/{day:str}/export",
        description="A round's books as CSV, in UTF-8 with a byte order mark. A file that breaks off is not whole.",
    )
    async def export(request: Request[Any, Any, Any], day: FromPath[str], what: Asked) -> Stream | Response[Envelope]:
        of = day_of(day)
        answer, file = await verbs.export(service, named(request, "read"), of, what)
        if file is None:
            return reply(request, "export", answer)
        reply(request, "export", Answer("ok"))  # counts it
        headers = {"content-disposition": f'attachment; filename="{of}-{what}.csv"', "cache-control": "no-store"}
        return Stream(file, media_type="text/csv", headers=headers)

    return [export]
