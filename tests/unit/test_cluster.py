"""Which key a command has, which slot its keys have, and what a URL of a cluster says."""

from datetime import date

import pytest

from clock.config import BadSetting, load
from clock.game import keys
from clock.game.client.cluster import key_of
from clock.redis_url import cluster


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("EVALSHA", "abc", 2, "one", "two", 3), "one"),
        (("EVAL", "return 1", 1, "one"), "one"),
        (("HGET", "one", "field"), "one"),
        (("XINFO STREAM", "one"), "one"),
        (("MEMORY USAGE", "one", "SAMPLES", 20), "one"),
        (("TIME",), ""),
        (("INFO", "server"), ""),
        (("CONFIG GET", "appendonly"), ""),
        (("WAITAOF", 0, 0, 1), ""),
    ],
)
def test_the_key_of_a_command(command: tuple[str | int, ...], key: str) -> None:
    assert key_of(command) == key.encode()


@pytest.mark.parametrize("shard", range(16))
def test_all_keys_of_a_shard_have_one_slot(shard: int) -> None:
    names = keys.names(date(2030, 1, 1), shard, keys.NOUNS)
    packets = names[keys.NOUNS.index("packets")]
    all_of_them = (*names, *keys.pieces(packets, 2_000), keys.mark(names[0]))
    assert len({keys.slot_of(name.encode()) for name in all_of_them}) == 1


def test_a_url_of_another_kind_names_no_cluster() -> None:
    for url in ("redis://127.0.0.1:6379/0", "rediss://clock:a+cluster:b@host", "redis+sentinel://one/clock"):
        assert cluster(url) is None


def test_hosts_login_and_arguments_are_those_of_every_node() -> None:
    named = cluster("rediss+cluster://clock:p%40ss@10.0.0.1:7000,[fd00::2]:7001,redis-3/?ssl_ca_certs=/etc/ca.pem")
    assert named is not None
    assert named.hosts == [("10.0.0.1", 7000), ("fd00::2", 7001), ("redis-3", 6379)]
    assert named.server_url(("fd00::2", 7001)) == "rediss://clock:p%40ss@[fd00::2]:7001/0?ssl_ca_certs=/etc/ca.pem"
    plain = cluster("redis+cluster://one")
    assert plain is not None
    assert plain.server_url(("two", 7000)) == "redis://two:7000/0"


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://one:7000,",
        "redis+cluster://one:0",
        "redis+cluster://fd00::1",
        "redis+cluster://one/first",
        "redis+cluster://one?nonsense=1",
        "unix+cluster://one",
    ],
)
def test_what_is_no_such_url_is_refused_before_anything_is_connected(url: str) -> None:
    with pytest.raises(BadSetting, match="CLOCK_REDIS_URL"):
        load({"CLOCK_ENV": "dev", "CLOCK_REDIS_URL": url})


def test_a_queue_on_a_cluster_is_refused() -> None:
    with pytest.raises(BadSetting, match="CLOCK_QUEUE_URL"):
        load({"CLOCK_ENV": "dev", "CLOCK_QUEUE_URL": "redis+cluster://one:7000"})
