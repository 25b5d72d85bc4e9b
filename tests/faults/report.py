"""Plays a seed and says what came of it."""

import asyncio
import random
from typing import Literal

import aiohttp
import msgspec
import psycopg
from redis.exceptions import RedisError

from clock.config import Settings
from clock.runtime.directory import DataDirError
from clock.runtime.processes import EmbeddedError
from tests.faults.play import Play
from tests.faults.schedule import SIZES, schedule
from tests.faults.stack import Topology, started

SETTINGS = Settings(
    env="dev",
    jwt_secret="a secret that is used in tests only, 32 bytes",
    webhook_secret="whsec_" + "c2VjcmV0IHVzZWQgaW4gdGVzdHMgb25seSwgMzIgYi4=",
    statement_key="PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
    shards=2,
    fee_bps=300,
    lucky_count=2,
    lucky_bps=1000,
)

Channel = Literal["platform", "wechat", "alipay"]

CLUSTER = msgspec.structs.replace(SETTINGS, shards=6, durability="replica")
"""A failover may lose what no replica has confirmed."""


async def play(
    seed: int, size: Literal["small", "long"], topology: Topology = "one", channel: Channel = "platform"
) -> Play:
    """A stack of its own, all rounds, all comparisons."""
    settings = msgspec.structs.replace(CLUSTER if topology == "cluster" else SETTINGS, channel=channel)
    plan = schedule(seed, SIZES[size, topology])
    async with (
        started(settings, random.Random(f"stack {seed}"), topology) as stack,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=128), timeout=aiohttp.ClientTimeout(total=15)
        ) as session,
    ):
        played = Play(stack, plan, session)
        try:
            async with asyncio.timeout(plan.size.bound_s):
                await played.all_rounds()
        except (
            TimeoutError,
            AssertionError,
            EmbeddedError,
            DataDirError,
            psycopg.Error,
            RedisError,
            KeyError,
        ) as error:
            played.journal.broken.append(f"ended early: {type(error).__name__} {error}")
        finally:
            played.injector.injected.update(stack.armed.hits)
        return played


def text_of(played: Play) -> str:
    """The faults, the acknowledged answers, and the verdict."""
    journal = played.journal
    lines = [f"seed {played.schedule.seed}", "", "faults injected"]
    lines += [f"  {count:6} {name}" for name, count in sorted(played.injector.injected.items())]
    lines += ["", "acknowledged answers"]
    lines += [f"  {count:6} {name}" for name, count in sorted(journal.acknowledged.items())]
    lines += [
        "",
        f"requests sent again after no answer or 503: {journal.retried.total()} {dict(journal.retried) or ''}",
    ]
    lines += [f"requests never answered: {journal.unanswered.total()} {dict(journal.unanswered) or ''}", ""]
    lines += [*played.compared, ""]
    problems = [*journal.broken, *played.injector.failed]
    for name, found in (
        ("LOST", journal.lost),
        ("PAID TWICE", journal.paid_twice),
        ("FEN DIFFERING", journal.differing),
        ("BROKEN", problems),
    ):
        lines.append(f"{name}: {len(found)}")
        lines += [f"    {one}" for one in found[:20]]
    return "\n".join(lines)
