"""Fetch a draw from relays over HTTP. A relay is trusted with nothing: what it says counts if the chain has signed it.

Relays are asked side by side, each within :data:`RELAY_SECONDS`, for a few kilobytes, without redirects. The first draw
that verifies is taken.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import structlog

from clock import logs, strangers
from clock.beacon.chain import Chain
from clock.beacon.rule import Draw
from clock.beacon.signature import SIGNATURE_BYTES, verifies
from clock.names import Names

RELAY_SECONDS = 8.0
"""How long one relay may take, from its name's look-up to the last byte."""

MOST_REPLY = 4096
"""Bytes of a reply; drand's have some 250."""

NAMES = Names(8)

log = structlog.get_logger()


class Beacon(msgspec.Struct, frozen=True):
    """A chain, and the base URLs of relays, without a slash at the end."""

    chain: Chain
    relays: tuple[str, ...]


class Reply(msgspec.Struct, frozen=True):
    """What of a relay's reply is read. ``randomness``, the SHA-256 of the signature, is not: nothing is drawn from
    it."""

    round: int
    signature: str


class Bad(Exception):
    """A relay's answer is no draw; the message says why."""


async def fetch(beacon: Beacon, number: int, seconds: float = RELAY_SECONDS) -> bytes | None:
    """The signature of a draw, verified, or None if no relay has it. Ask only when the draw is out: relays let caches
    keep the answer that it is not."""
    bad: dict[str, str] = {}
    async with strangers.session(NAMES, seconds) as session, _asked(session, beacon, number) as tasks:
        for task in asyncio.as_completed(tasks):
            relay, said = await task
            if isinstance(said, bytes):
                log.info("draw_had", chain=beacon.chain.name, number=number, relay=relay, others=bad)
                return said
            bad[relay] = said
    if logs.is_news("draw_not_had", beacon.chain.hash, number):
        log.warning("draw_not_had", chain=beacon.chain.name, number=number, relays=bad)
    return None


async def survey(beacon: Beacon, number: int, seconds: float = RELAY_SECONDS) -> Mapping[str, str]:
    """What each relay says when it is asked for a draw: nothing, if it has it, or why it does not count."""
    async with strangers.session(NAMES, seconds) as session, _asked(session, beacon, number) as tasks:
        return {relay: "" if isinstance(said, bytes) else said for relay, said in await asyncio.gather(*tasks)}


@asynccontextmanager
async def _asked(
    session: aiohttp.ClientSession, beacon: Beacon, number: int
) -> AsyncIterator[list["asyncio.Task[tuple[str, bytes | str]]"]]:
    """A question to each relay; those that are not answered at the end are given up."""
    draw = Draw(beacon.chain, number)
    tasks = [asyncio.create_task(_answer(session, draw, relay)) for relay in beacon.relays]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(session: aiohttp.ClientSession, draw: Draw, relay: str) -> tuple[str, bytes | str]:
    """The relay, and the signature, or why there is none."""
    try:
        url = f"{relay}/{draw.chain.hash}/public/{draw.number}"
        async with session.get(url, allow_redirects=False) as reply:
            if reply.status != 200:
                raise Bad(f"status {reply.status}")
            return relay, _signature(draw, await strangers.body_of(reply, MOST_REPLY))
    except Bad as bad:
        return relay, str(bad)
    except strangers.TooLarge:
        return relay, "too large"
    except Exception as error:  # noqa: BLE001 - whatever one relay does, the others are heard
        return relay, type(error).__name__


def _signature(draw: Draw, body: bytes) -> bytes:
    try:
        said = msgspec.json.decode(body, type=Reply)
        signature = bytes.fromhex(said.signature)
    except ValueError:
        raise Bad("unreadable") from None
    if said.round != draw.number:
        raise Bad("another number")
    if len(signature) != SIGNATURE_BYTES or not verifies(draw.chain.public_key, draw.number, signature):
        raise Bad("not signed by the chain")
    return signature
