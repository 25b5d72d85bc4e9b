"""The upper baseline: ASGI handlers that decode the same bodies and answer the same bytes. No framework, no Redis."""

from collections.abc import Callable
from typing import Any

import msgspec

from clock.channels.platform import PaymentCallback
from clock.domain.outcomes import Answer, envelope
from clock.http.wire import CheckInRequest, ClaimRequest, JoinRequest, SummaryRequest

ORDER_NO = "TTC0d40000000000N7tJxKb2FqZ9sQ"[:29]

ANSWERS: dict[str, tuple[type[msgspec.Struct], str, Answer]] = {
    "/api/check-in": (CheckInRequest, "check_in", Answer("checked_in", {"money": 12_345_600})),
    "/api/claim": (
        ClaimRequest,
        "claim",
        Answer("claimed", {"assign": {"money": 25, "stake": 100, "total": 125}}),
    ),
    "/api/join": (
        JoinRequest,
        "join",
        Answer(
            "ordered",
            {
                "order_id": 172_610_000_000_123,
                "order_no": ORDER_NO,
                "amount": 100,
                "pay": {"channel": "platform", "order_no": ORDER_NO, "amount": 100},
            },
        ),
    ),
    "/callbacks/platform": (PaymentCallback, "pay_platform", Answer("paid")),
    "/api/summary": (
        SummaryRequest,
        "summary",
        Answer(
            "ok",
            {
                "summary": {
                    "is_remind": 0,
                    "clock_status": 2,
                    "user_num": 123_456,
                    "clock_user_num": 65_432,
                    "clock_money": 12_345_600,
                    "clock_time": 0,
                    "red_time": 11_100,
                    "zero_time": 0,
                    "is_start": 0,
                    "is_alert": 0,
                    "yest_money": 12_345_600,
                    "round": "2026-11-23",
                    "seed_hash": "5f" * 32,
                    "server_time": 1_795_400_000_000,
                }
            },
        ),
    ),
}


def create_app() -> Callable[..., Any]:
    routes = {}
    for path, (request_type, verb, answer) in ANSWERS.items():
        body = envelope(answer, verb, "zh")
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        routes[path] = (msgspec.json.Decoder(request_type).decode, headers, body)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        decode, headers, body = routes[scope["path"]]
        decode((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return app


async def _live(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
