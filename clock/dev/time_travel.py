"""Development only: moving the clock, paying and confirming through the provider's double."""

import asyncio
from datetime import datetime
from time import time
from typing import Any

import aiohttp
import msgspec

from clock.domain.outcomes import Answer, Unavailable
from clock.domain.rounds import Calendar
from clock.http.refusals import Refused
from clock.http.wire import Envelope
from clock.runtime.supervise import double_urls
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
    """Let the double of the order's own provider take its payment: a real signed callback. At the platform's, its reply
    is the answer; WeChat Pay's and Alipay's replies say no word of ours, so what became of the order does."""
    place = await service.incoming.place_of(number)
    order = await service.incoming.order(place) if place else None
    if place is None or order is None:
        return Answer("order_not_found")
    payment: dict[str, Any] = {
        "order_no": number,
        "amount": order.amount_fen,
        "buyerId": order.open_id,
        "at_ms": service.time.now_ms(),
    }
    url = double_urls(service.settings).get(place.channel)
    if url is None:
        reply = await _asked(f"{service.settings.platform_url}/pay", payment)
        return Answer(reply.code, reply.data)
    if not order.paid:
        asked = await service.paying.pay(place.uid, number, None, "127.0.0.1")
        if asked.word == "pay_refused":
            raise Unavailable(f"{place.channel}: {asked.data['why']}")
        if asked.word != "ok":
            return asked
        payment["pay"] = asked.data["pay"]
    if (await _asked(f"{url}/pay", payment)).code != "told":
        raise Unavailable(f"the notification of {place.channel} was not taken")
    paid = await service.incoming.order(place)
    if paid is None or not paid.paid:
        return Answer("refund_due")
    return Answer("already_paid" if order.paid else "paid")


async def confirm(service: Service, number: str) -> Answer:
    """Let its user confirm a withdrawal at the double of WeChat Pay."""
    url = double_urls(service.settings).get("wechat")
    if url is None:
        raise Refused("bad_request", "there is no double of WeChat Pay here")
    await _asked(f"{url}/confirm", {"out_bill_no": number})
    return Answer("ok")


async def _asked(url: str, body: dict[str, Any]) -> Envelope:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PAY_SECONDS)) as session,
            session.post(url, data=msgspec.json.encode(body)) as response,
        ):
            return msgspec.json.decode(await response.read(), type=Envelope)
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
        raise Unavailable(f"the provider's double: {error}") from error
