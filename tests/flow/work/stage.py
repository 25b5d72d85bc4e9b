"""Work that waits at a point which the test chooses, and what can be seen of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from clock.domain import progress
from clock.domain.outcomes import Answer
from clock.logs import Said
from clock.operators.work import table
from clock.operators.work.asking import DOING
from clock.runtime.jobs import Lasting
from clock.service import Service
from tests.conftest import DAY, Api
from tests.flow.operators.stage import operate


class Slow:
    """In the place of how a kind is done: it says how far it is, waits until it may go on, then does it."""

    def __init__(self, kind: str) -> None:
        self.begun = 0
        self.ended = 0
        self.may_go_on = asyncio.Event()
        self._real = DOING[kind]

    async def __call__(self, service: Service, about: str, arguments: dict[str, Any]) -> Answer:
        self.begun += 1
        progress.at("publishing", 4_000, 10_000)
        await self.may_go_on.wait()
        answer = await self._real(service, about, arguments)
        self.ended += 1
        return answer


def context(service: Service) -> dict[str, Any]:
    """A worker's."""
    return {"service": service, "lasting": Lasting(), "said": Said()}


async def until(holds: Callable[[], Awaitable[Any]], seconds: float = 20.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await holds()):
            await asyncio.sleep(0.02)
    return found


async def listed(service: Service) -> list[dict[str, Any]]:
    return await table.listed(service.store, None, 50)


async def shown(api: Api) -> list[dict[str, Any]]:
    """What ``GET /ops/work`` has."""
    status, reply = await operate(api, "GET", "/ops/work")
    assert (status, reply["code"]) == (200, "ok")
    items: list[dict[str, Any]] = reply["data"]["items"]
    return items


async def words_of_acts(api: Api) -> list[str | None]:
    _, reply = await operate(api, "GET", f"/ops/actions?about={DAY}")
    return [one["word"] for one in reply["data"]["items"]]


async def ask(service: Service, kind: str, who: str = "anna", **arguments: Any) -> tuple[int, int]:
    """As an operator's path does: the ids of the row and of the act."""
    act = {"who": who, "address": "here", "act": kind, "about": str(DAY), "detail": "{}", "reason": ""}
    written = await service.store.one("write_act", **act, amount_fen=None)
    assert written is not None
    return await table.ask(service.store, kind, str(DAY), arguments, who, written["id"]), written["id"]


async def words(service: Service, kind: str) -> list[str]:
    """How pieces of a kind about the day have ended, newest first; a slow worker shows other days."""
    return [
        one["word"] for one in await listed(service) if (one["kind"], one["about"]) == (kind, str(DAY)) and one["word"]
    ]
