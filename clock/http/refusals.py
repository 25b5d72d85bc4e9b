"""Answers to failed requests: one mapping of exceptions to words, for the lean lane and ordinary handlers."""

import structlog
from litestar.exceptions import HTTPException
from redis.exceptions import RedisError

from clock.domain.outcomes import Busy, SlowDown, Unavailable

log = structlog.get_logger()

WORDS = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}
"""The word for an HTTP status that Litestar raises; any other status is ``internal``."""


class Refused(Exception):
    """A refusal with a word of ``OUTCOMES``; ``detail`` names the error in the request."""

    def __init__(self, word: str, detail: str = "") -> None:
        super().__init__(word)
        self.word = word
        self.detail = detail


def refusal(error: Exception, **where: str) -> tuple[str, str]:
    """Word and detail of the answer to a failed request. ``where`` goes into the log. An unexpected exception is logged
    once and answered ``internal`` without detail."""
    word, detail = "internal", ""
    match error:
        case Refused():
            return error.word, error.detail
        case HTTPException():
            word = WORDS.get(error.status_code, "internal")
            detail = wrong_with(error) if word == "bad_request" else ""
        case Busy():
            word = "busy"
        case SlowDown():
            word = "slow_down"
        case Unavailable():
            word = "unavailable"
        case RedisError() | OSError():
            log.error("unavailable", error=type(error).__name__, **where)
            word = "unavailable"
    if word == "internal":
        log.error("request_broke", exc_info=error, **where)
    return word, detail


def wrong_with(error: HTTPException) -> str:
    """The invalid fields, worded as in the lean lane; Litestar's own text repeats the whole URL."""
    fields = error.extra if isinstance(error.extra, list) else []
    return "; ".join(f"{one['message']} - at `{one['key']}`" for one in fields if "key" in one) or error.detail
