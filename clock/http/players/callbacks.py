"""Notifications of the payment providers, ``POST /callbacks/{channel}``: each in its own form, answers included."""

from urllib.parse import parse_qs

from litestar.handlers import ASGIRouteHandler
from msgspec import Raw

from clock.channels import BadSignature, Channel, Ended, Payment, Probe, Reply, Unreadable
from clock.domain.outcomes import Answer, Language
from clock.http.forms import ENVELOPE, Form, Lines
from clock.http.lane import Call, Endpoint, route
from clock.http.refusals import Refused
from clock.payments.outgoing import hasten
from clock.service import Service


def callback_routes(service: Service) -> list[ASGIRouteHandler]:
    return [_route(service, name) for name in service.channels]


def _route(service: Service, name: str) -> ASGIRouteHandler:
    """The channel is looked up at each call: a test may put another one in its place."""

    async def taken(_: None, call: Call) -> Answer:
        return await _taken(service, service.channels[name], call)

    channel = service.channels[name]
    form = ENVELOPE if channel.answer("ok") is None else _form(service, name)
    post = Endpoint(taken, request_type=channel.notification)
    return route(f"/callbacks/{name}", f"pay_{name}", {"POST": post}, form)


async def _taken(service: Service, channel: Channel, call: Call) -> Answer:
    """Verify the signature over the raw body first. Every notification that passes is stored, whatever it contains."""
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in call.headers.items()}
    try:
        notice = channel.read(call.raw, headers)
    except Probe:
        raise Refused("unauthenticated") from None
    except BadSignature:
        raise Refused("bad_signature") from None
    except Unreadable as error:
        await service.incoming.quarantine(channel.name, "malformed", "", error.kept, call.arrived)
        raise Refused("bad_request", str(error)) from None
    if isinstance(notice, Payment):
        answer = await service.incoming.pay(notice, channel.name, call.arrived)
        if parse_qs(call.query).get(b"receipt") == [b"1"]:  # in a provider's own form it is not shown
            receipt = await service.incoming.receipt(notice, answer.word)
            return Answer(answer.word, {"receipt": Raw(receipt)}) if receipt else answer
        return answer
    if isinstance(notice, Ended):
        await hasten(service.store, notice.no)
    return Answer("ok")


def _form(service: Service, name: str) -> Form:
    """The provider's. A body that ended early was not kept, so that it must come again."""

    def reply(word: str) -> Reply:
        said = service.channels[name].answer(word)
        assert said is not None
        return said

    def head(word: str, _allow: bytes, _kept_s: int) -> tuple[int, Lines]:
        said = reply(word)
        lines = [(b"cache-control", b"no-store")]
        if said.media_type:
            lines.append((b"content-type", said.media_type.encode()))
        return said.status, lines

    def body(answer: Answer, _verb: str, _language: Language, _detail: str) -> bytes:
        return reply(answer.word).body

    return Form(head, body, early="unavailable")
