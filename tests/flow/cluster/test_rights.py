"""A day on a cluster under a user with exactly the rights that docs/servers.md names."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from clock.config import BadSetting, Settings
from clock.runtime.start_check import start_check
from tests.cluster import Cluster
from tests.conftest import Api, serving
from tests.flow.cluster.stage import Crowd, books_agree, it_is, owners, slot_of
from tests.flow.operators.stage import clock
from tests.flow.servers.stage import as_role
from tests.flow.stage import working

pytestmark = pytest.mark.long

TEXT = (Path(__file__).parents[3] / "docs" / "servers.md").read_text("utf-8")
[ANYWHERE] = re.findall(r"^ACL SETUSER clock on >PASSWORD (.+)$", TEXT, re.MULTILINE)
[ON_A_CLUSTER] = re.findall(r"^On a cluster also: `(.+)`$", TEXT, re.MULTILINE)
[IN_DEVELOPMENT] = re.findall(r"Development also needs `(.+?)`", TEXT)
MEMBERS = range(1, 33)


async def allow(six: Cluster, rights: str) -> None:
    """The user has these on every node, and nothing was refused yet."""
    for node in six.nodes:
        await six.tell(node, "ACL", "SETUSER", "clock", "reset", "on", ">clock", *rights.split())
        await six.tell(node, "ACL", "LOG", "RESET")
        await six.tell(node, "CONFIG", "RESETSTAT")


async def refused(six: Cluster) -> set[str]:
    entries = [entry for node in six.nodes for entry in await six.tell(node, "ACL", "LOG")]
    return {entry[entry.index(b"object") + 1].decode() for entry in entries}


async def used(six: Cluster) -> set[str]:
    found = [await six.client(node).info("commandstats") for node in six.nodes]
    return {name.removeprefix("cmdstat_") for one in found for name in one}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, redis_url=as_role(settings.redis_url, "clock"))


@pytest.fixture
async def api(settings: Settings, six: Cluster) -> AsyncIterator[Api]:
    await allow(six, f"{ANYWHERE} {ON_A_CLUSTER} {IN_DEVELOPMENT}")
    async with serving(settings) as api:
        yield api
    for node in six.nodes:
        await six.tell(node, "ACL", "DELUSER", "clock")


async def test_a_day_needs_these_rights_and_no_others_of_a_cluster(api: Api, six: Cluster) -> None:
    await start_check(replace(api.settings, durability="replica"))
    async with working(api.settings):
        await it_is(api, "2026-11-22T20:00:00")
        crowd = Crowd(api)
        await crowd.all(crowd.become_member, MEMBERS)
        await it_is(api, "2026-11-23T05:00:00")
        slot, primaries = await slot_of(six, 0), await six.primaries()
        here = (await owners(six))[0]
        await six.move(slot, next(node for node in primaries if node != here))
        await crowd.all(crowd.check_in, MEMBERS)
        await books_agree(api, MEMBERS, MEMBERS)
    status, said = await clock(api.settings, "rebuild")
    assert status == 0, said
    assert await refused(six) == set()
    assert {word.removeprefix("+") for word in ON_A_CLUSTER.split()} <= await used(six)


async def test_without_one_of_them_the_start_check_says_what_is_missing(six: Cluster, settings: Settings) -> None:
    for word in ON_A_CLUSTER.split():
        await allow(six, f"{ANYWHERE} {ON_A_CLUSTER} {IN_DEVELOPMENT}".replace(word, ""))
        with pytest.raises(BadSetting, match="has the rights it needs"):
            await start_check(settings)
        assert await refused(six) == {word.removeprefix("+")}
