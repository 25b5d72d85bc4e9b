"""Development only: moving the clock, and paying through the sandbox provider."""

import asyncio
from datetime import datetime
from time import time

import aiohttp
import msgspec

from clock.domain.outcomes import Answer, Unavailable
from clock.domain.rounds import Calendar
from clock.http.refusals import Refused
from clock.http.wire import Envelope
from clock.service import Service

MOVE_SECONDS = 10.0
PAY_SECONDS = 15.0


async def move_time(service: Service, now: str | None) -> Answer:
    """Move the clock of every process, with the rounds around the new time open. ``None``: back to the real time.

    Forwards, the rounds are opened before the move, because the new time applies at once. Backwards, they are opened
    after it: by the old time they would be due, and settled at once.
    """
    now_ms = None if now is None else _instant(now)
    calendar = Calendar(service.settings.timezone)
    assert service.moved is not None
    if now_ms is not None and now_ms > service.time.now_ms():
        await service.opener.open_around(calendar.day_at(now_ms))
    await service.touching.touch_around(calendar.day_at(now_ms or round(time() * 1000)))
    try:
        async with asyncio.timeout(MOVE_SECONDS):
            await service.moved.set(now_ms)
    except TimeoutError:
        raise Unavailable("a process does not follow the moved clock") from None
    await service.opener.open_around(calendar.day_at(service.time.now_ms()))
    return Answer("ok", {"now_ms": service.time.now_ms()})


def _instant(text: str) -> int:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Refused("bad_request", "now must be RFC 3339") from None
    if instant.tzinfo is None or not 2020 <= instant.year < 2060:
        raise Refused("bad_request", "now must have an offset and a year from 2020 to 2059")
    return int(instant.timestamp() * 1000)


async def pay(service: Service, number: str) -> Answer:
    """Let the sandbox provider pay an order: a real signed callback, whose reply is the answer."""
    place = await service.incoming.place_of(number)
    order = await service.incoming.order(place) if place else None
    if order is None:
        return Answer("order_not_found")
    payment = {
        "order_no": number,
        "amount": order.amount_fen,
        "buyerId": order.open_id,
        "at_ms": service.time.now_ms(),
    }
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PAY_SECONDS)) as session,
            session.post(f"{service.settings.platform_url}/pay", data=msgspec.json.encode(payment)) as response,
        ):
            reply = msgspec.json.decode(await response.read(), type=Envelope)
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
        raise Unavailable(f"the sandbox provider: {error}") from error
    return Answer(reply.code, reply.data)
