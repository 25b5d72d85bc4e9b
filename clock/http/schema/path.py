"""What is said of a path: which words it answers, and what data comes with each."""

from typing import Any, Literal

from msgspec import Struct

from clock.http.schema.players import Nothing

Tag = Literal["players", "public", "callbacks", "operators", "health", "development"]

TAGS: dict[Tag, str] = {
    "players": "A user's verbs and reads. The token is the user's, or a service's, which may act for any uid.",
    "public": "Reads without a token. Their answers say how long they may be kept.",
    "callbacks": "Payments, as the provider reports them.",
    "operators": "For tokens with the role operator.",
    "health": "For load balancers and Prometheus.",
    "development": "Only where `CLOCK_ENV=dev`; elsewhere these paths do not exist.",
}

_BUSY = ("busy", "unavailable", "internal")
REFUSALS: dict[Tag, tuple[str, ...]] = {
    "players": ("bad_request", "unauthenticated", "forbidden", "too_large", "slow_down", *_BUSY),
    "public": ("bad_request", "too_large", "slow_down", *_BUSY),
    "callbacks": ("bad_request", "bad_signature", "too_large", *_BUSY),
    "operators": ("bad_request", "unauthenticated", "forbidden", "too_large", "slow_down", *_BUSY),
    "health": (),
    "development": ("bad_request", "too_large", "slow_down", *_BUSY),
}
"""What any path of a kind may answer besides its own words."""


class Says(Struct, frozen=True):
    """Words that come with the same data. ``example``: such data."""

    words: tuple[str, ...]
    data: type[Struct] = Nothing
    example: dict[str, Any] | None = None


class Path(Struct, frozen=True):
    """A method of a path. ``bare``: by HTTP status, what it answers without the envelope: data, or another type of
    content. ``stranger``: it may be asked without a token. ``asked``: what a verb of the lane takes in its query."""

    name: str
    tag: Tag
    summary: str
    says: tuple[Says, ...] = ()
    description: str = ""
    bare: dict[int, type[Struct] | str] = {}
    stranger: bool = False
    asked: dict[str, str] = {}

    @property
    def words(self) -> set[str]:
        return {word for one in self.says for word in one.words} | set(REFUSALS[self.tag])
