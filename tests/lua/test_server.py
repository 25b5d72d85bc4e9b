"""What a server that restarts, or forgets scripts, must not change."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import RedisClusterException, RedisError

from clock.files import folder
from clock.game.client.calls import connect
from clock.game.events import CheckedIn, Payment
from clock.game.scripts import Value, load
from clock.runtime import embedded, processes
from tests.cluster import Node
from tests.lua.conftest import connect_cluster, take_all_slots, wait_for_slots
from tests.lua.stage import MORNING, Client, Stage, payment
from tests.raw import raw

VERBS = sorted(path.stem for path in folder("lua").glob("*.lua") if path.stem != "prelude")


class Restarting:
    """A server of the test's own, that can be killed."""

    def __init__(self, server: embedded.Valkey, process: processes.Process) -> None:
        self.server = server
        self.process = process

    def client(self) -> Client:
        return connect_cluster(self.server) if isinstance(self.server, Node) else raw(connect(self.server.url))

    async def kill_and_start_again(self) -> None:
        processes.kill(self.process)
        self.process.wait()
        self.process = await embedded.start(self.server)
        if isinstance(self.server, Node):
            await wait_for_slots(self.server)


@pytest.fixture(params=[embedded.Valkey, Node])
async def restarting(request: pytest.FixtureRequest) -> AsyncIterator[Restarting]:
    with embedded.scratch() as data_dir:
        server = request.param(data_dir)
        running = Restarting(server, await embedded.start(server))
        if isinstance(server, Node):
            await take_all_slots(server)
        yield running
        processes.kill(running.process)
        running.process.wait()


async def contents(stage: Stage) -> list[Any]:
    """What the keys hold; unlike a dump, without the order in which a hash keeps its fields."""
    hashes = [await stage.redis.hgetall(stage.key(noun)) for noun in ("round", "members", "totals", "payments")]
    return [*hashes, await stage.packets(), await stage.redis.xrange(stage.key("outbox"))]


async def known(client: Any, verb: str) -> bool:
    return bool((await client.execute_command("SCRIPT EXISTS", load(verb).sha))[0])


async def test_what_was_answered_before_a_kill_is_there_after_it_and_scripts_run_again(restarting: Restarting) -> None:
    client = restarting.client()
    stage = Stage(client)
    await stage.open()
    await stage.members(*range(1, 41))
    assert await stage.check_in(*range(1, 21)) == ["checked_in"] * 20
    before = await contents(stage)
    assert await known(client, "check_in")

    await restarting.kill_and_start_again()
    await client.aclose()
    client = restarting.client()
    stage = Stage(client)
    assert await contents(stage) == before
    assert not await known(client, "check_in")
    assert await stage.check_in(*range(1, 41)) == ["already_checked_in"] * 20 + ["checked_in"] * 20
    assert (await stage.events())[-1] == CheckedIn(MORNING, 21, list(range(21, 41)))
    assert await known(client, "check_in")
    await client.aclose()


async def test_every_answer_that_arrived_before_a_kill_in_full_flight_is_kept(restarting: Restarting) -> None:
    client = restarting.client()
    stage = Stage(client)
    await stage.open()
    uids = list(range(1, 257))
    await stage.join(*uids)
    paid: list[int] = []

    async def pay(own: list[int]) -> None:
        for uid in own:
            assert await stage.call("pay", payment(uid)) == ["paid"]
            paid.append(uid)
            if len(paid) == 60:
                processes.kill(restarting.process)

    lanes = await asyncio.gather(*(pay(uids[i::8]) for i in range(8)), return_exceptions=True)
    assert all(isinstance(end, RedisError | RedisClusterException | OSError) for end in lanes), lanes
    await client.aclose()
    await restarting.kill_and_start_again()
    client = restarting.client()
    stage = Stage(client)
    assert len(paid) >= 60
    assert await stage.status(*paid) == "M" * len(paid)
    told = {row[0] for event in await stage.events() if isinstance(event, Payment) for row in event.rows}
    totals = await stage.totals()
    assert set(paid) <= told
    assert (totals["members"], totals["pool_fen"]) == (len(told), 100 * len(told)), "state, sums and outbox are one"
    await client.aclose()


@pytest.mark.parametrize("verb", VERBS)
async def test_a_forgotten_script_runs_all_the_same_and_is_known_afterwards(stage: Stage, verb: str) -> None:
    await stage.redis.script_flush()
    assert not await known(stage.redis, verb)
    fixed: dict[str, Any] = {"by": "user", "why": "settle", "how": "open", "grace_ms": 0, "keep_ms": 1}
    fixed |= {**payment(1), "first_index": 0, "fens": "1", "packets": 0, "packets_fen": 0, "day_number": 1}
    fixed |= {"number": 1, "by_ms": 60_000, "reason": "", "by_whom": "an operator"}
    fixed |= {"endpoint": "refund", "interval_ms": 1, "burst": 1, "most_wait_ms": 1}
    fixed |= {"before": "", "last_id": "1-1", "entries": 1, "last_number": 0}
    row: dict[str, Value] = {**payment(1), "field": "stake_fen", "value": 1, "raw_base64": "", "reason": ""}
    row |= {"on": 1, "body_sha1": "00", "found": b"", "right": b"O", "late": 0, "packet_fen": 0, "found_fen": 0}
    await stage.call(verb, *([row] if load(verb).per_user else []), **fixed)
    assert await known(stage.redis, verb)
