"""Paying an order: what the client hands to the provider. A call of its own, so that a provider that is slow or away
keeps nobody from joining."""

from time import monotonic
from typing import Any

from clock.channels import Channel, How, PayRefused, Purchase, Silent, TooManyCalls
from clock.domain.outcomes import Answer, Unavailable
from clock.game.asking import Asking
from clock.payments.incoming import Incoming

KEPT_SECONDS = 60.0
"""So long an answer is given again without a call, which are limited: one user must not use up everybody's."""

MOST_KEPT = 10_000


class Paying:
    def __init__(self, asking: Asking, incoming: Incoming, channels: dict[str, Channel]) -> None:
        self._asking = asking
        self._incoming = incoming
        self._channels = channels
        self._kept: dict[tuple[str, How | None], tuple[float, dict[str, Any]]] = {}

    async def pay(self, uid: int, number: str, how: How | None, address: str) -> Answer:
        """``how``: none is the channel's first. Raises :class:`Unavailable` where the provider does not answer."""
        place = await self._incoming.place_of(number)
        order = await self._incoming.order(place) if place and place.uid == uid else None
        if place is None or order is None:
            return Answer("order_not_found")
        if order.paid:
            return Answer("already_paid")
        expires_ms = (await self._asking.round(place.day)).at.join_closes_ms
        if order.void or self._asking.time.now_ms() >= expires_ms:
            return Answer("order_closed")
        channel = self._channels.get(place.channel)
        if channel is None:
            raise Unavailable(f"no channel {place.channel}")
        if how is not None and channel.hows and how not in channel.hows:
            return Answer("pay_refused", {"why": f"{channel.name} takes {', '.join(channel.hows)}"})
        kept = self._kept.get((number, how))
        if kept is None or kept[0] < monotonic():
            way = how or (channel.hows[0] if channel.hows else "jsapi")
            purchase = Purchase(number, order.amount_fen, order.open_id, expires_ms, way, address)
            try:
                pay = await channel.pay(purchase)
            except PayRefused as error:
                return Answer("pay_refused", {"why": str(error)})
            except (Silent, TooManyCalls) as error:
                raise Unavailable(f"{channel.name}: {error}") from error
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            kept = self._kept[number, how] = monotonic() + KEPT_SECONDS, pay
        return Answer("ok", {"channel": channel.name, "pay": kept[1]})
