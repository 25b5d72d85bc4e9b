"""URLs that name Sentinels, and what is refused."""

import pytest

from clock.config import BadSetting, load
from clock.game.client.pool import Pool
from clock.redis_url import sentinels


def test_a_url_of_a_server_names_no_sentinels() -> None:
    for url in ("redis://127.0.0.1:6379/0", "rediss://clock:a+sentinel:b@host", "unix:///run/redis.sock"):
        assert sentinels(url) is None


def test_hosts_name_logins_and_arguments_are_told_apart() -> None:
    named = sentinels(
        "rediss+sentinel://clock:p%40ss@10.0.0.1:26380,[fd00::2]:26381,redis-3/my%20clock/2"
        "?sentinel_username=guard&sentinel_password=s%2Fecret&ssl_ca_certs=/etc/ca.pem"
    )
    assert named is not None
    assert named.hosts == [("10.0.0.1", 26380), ("fd00::2", 26381), ("redis-3", 26379)]
    assert (named.name, named.login) == ("my clock", {"username": "guard", "password": "s/ecret"})
    assert named.server_url == "rediss://clock:p%40ss@primary.invalid/2?ssl_ca_certs=%2Fetc%2Fca.pem"


async def test_the_server_is_given_its_login_and_the_sentinels_theirs() -> None:
    pool = Pool.of("rediss+sentinel://clock:secret@one:1,two:2/main?sentinel_password=other&ssl_ca_certs=/etc/ca.pem")
    assert pool.guards is not None
    server = pool.connection_kwargs
    assert (server["username"], server["password"], server["db"]) == ("clock", "secret", 0)
    for number, guard in enumerate(pool.guards._sentinel.sentinels, 1):
        given = guard.connection_pool.connection_kwargs
        assert (given["port"], given["password"], given["username"]) == (number, "other", None)
        assert given["ssl_ca_certs"] == "/etc/ca.pem"


@pytest.mark.parametrize("name", ["CLOCK_REDIS_URL", "CLOCK_QUEUE_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://one:26379",
        "redis+sentinel://one:26379/",
        "redis+sentinel:///clock",
        "redis+sentinel://one:26379,/clock",
        "redis+sentinel://one:0/clock",
        "redis+sentinel://one:65536/clock",
        "redis+sentinel://fd00::1/clock",
        "redis+sentinel://one/clock/first",
        "redis+sentinel://one/clock?nonsense=1",
        "unix+sentinel://one/clock",
    ],
)
def test_what_is_no_such_url_is_refused_before_anything_is_connected(name: str, url: str) -> None:
    with pytest.raises(BadSetting, match=name):
        load({"CLOCK_ENV": "dev", name: url})
