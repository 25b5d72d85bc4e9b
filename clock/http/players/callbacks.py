"""Notifications of the payment providers, ``POST /callbacks/{channel}``: each in its own form, answers included."""

from time import monotonic
from typing import Any

from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import Receive, Scope, Send

from clock import metrics
from clock.channels import BadSignature, Channel, Ended, Payment, Probe, Reply, Unreadable
from clock.domain.outcomes import Answer
from clock.http.lane import Call, Endpoint, inside, joined, read_body, route
from clock.http.refusals import Refused, refusal
from clock.payments.outgoing import hasten
from clock.service import Service


def callback_routes(service: Service) -> list[ASGIRouteHandler]:
    return [_route(service, name) for name in service.channels]


def _route(service: Service, name: str) -> ASGIRouteHandler:
    """The channel is looked up at each call: a test may put another one in its place."""

    async def taken(call: Call) -> Answer:
        return await _taken(service, service.channels[name], call)

    if service.channels[name].answer("ok") is None:
        return route(f"/callbacks/{name}", f"pay_{name}", POST=Endpoint(taken, service.channels[name].notification))
    return _foreign(service, name)


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
        return await service.incoming.pay(notice, channel.name, call.arrived)
    if isinstance(notice, Ended):
        await hasten(service.store, notice.no)
    return Answer("ok")


def _foreign(service: Service, name: str) -> ASGIRouteHandler:
    """Answers in the provider's form, not in the envelope."""

    @asgi(f"/callbacks/{name}", name=f"pay_{name}", copy_scope=False)
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(monotonic(), joined(scope["headers"]), b"")
        channel = service.channels[name]
        word = await _word(service, channel, scope, receive, call)
        metrics.answered(f"pay_{name}", word, monotonic() - call.arrived)
        reply = channel.answer(word)
        assert reply is not None
        await _send(send, reply)

    return handle


async def _word(service: Service, channel: Channel, scope: Any, receive: Receive, call: Call) -> str:
    if not inside.let_in():
        return "busy"
    try:
        if scope["method"] != "POST":
            raise Refused("method_not_allowed")
        try:
            call.raw = await read_body(receive)
        except Refused as refused:  # a body that ended early was not kept: it must come again
            return "unavailable" if refused.word == "bad_request" else refused.word
        return (await _taken(service, channel, call)).word
    except Exception as error:  # noqa: BLE001 - everything is answered, in the provider's form
        return refusal(error, verb=f"pay_{channel.name}")[0]
    finally:
        inside.count -= 1


async def _send(send: Send, reply: Reply) -> None:
    headers = [(b"cache-control", b"no-store")]
    if reply.status != 204:  # RFC 9110, 8.6
        headers.append((b"content-length", b"%d" % len(reply.body)))
    if reply.media_type:
        headers.append((b"content-type", reply.media_type.encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})
