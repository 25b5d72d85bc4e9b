"""Settings: defaults of the contract, and a message that names what cannot be used."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from clock.config import PREFIX, BadSetting, Settings, load, unknown_names
from tests.conftest import STATEMENT_KEY

FIELDS = msgspec.structs.fields(Settings)

DEFAULTS: dict[str, Any] = {
    "env": "prod",
    "host": "127.0.0.1",
    "port": 8080,
    "data_dir": Path(".clock"),
    "redis_url": "",
    "database_url": "",
    "jwt_secret": "",
    "jwt_public_key": "",
    "webhook_secret": "",
    "timezone": "Asia/Shanghai",
    "stake_fen": 100,
    "fee_bps": 0,
    "split": "random",
    "nobody": "refund",
    "packet_cap_fen": 0,
    "lucky_count": 0,
    "lucky_bps": 0,
    "shards": 1,
    "durability": "fsync",
    "order_prefix": "TTC",
    "join_opens": "00:00",
    "join_closes": "24:00",
    "check_in_opens": "05:00",
    "check_in_closes": "08:00",
    "settle_at": "08:05",
    "claim_closes": "24:00",
}

GARBAGE = ("-1", "x y", "½", "99999999999999999999", "25:00", "true")
"""Each setting that is not any text or path refuses at least one of these."""


def test_defaults_are_those_of_the_contract() -> None:
    settings = load({})
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert settings.api_workers >= 1
    assert load({"HOME": "/", "STAKE_FEN": "7", "clock_stake_fen": "7"}) == settings, "others' variables do not count"


@pytest.mark.parametrize("field", [field for field in FIELDS if field.type not in (str, Path)], ids=lambda f: f.name)
def test_a_value_that_cannot_be_used_names_its_setting(field: msgspec.structs.FieldInfo) -> None:
    name, refused = PREFIX + field.name.upper(), 0
    for text in GARBAGE:
        try:
            load({name: text})
        except BadSetting as error:
            assert name in str(error)
            refused += 1
    assert refused


@pytest.mark.parametrize(
    "name, text",
    [
        *(("ENV", text) for text in ("test", "DEV", "production")),
        *(("PORT", text) for text in ("-1", "65536", "80.5", "http", "8_0", "0x50")),
        *(("STAKE_FEN", text) for text in ("0", "-100", "1.5", "100000001", "1元", "nan", "inf", "１００")),
        *(("FEE_BPS", text) for text in ("-1", "10001", "0.5", "5%")),
        *(("LUCKY_BPS", text) for text in ("-1", "10001", "half")),
        *(("LUCKY_COUNT", text) for text in ("-1", "1.5", "many", "1000001")),
        *(("PACKET_CAP_FEN", text) for text in ("-1", "1.5", "none", "1000000000001")),
        *(("SHARDS", text) for text in ("0", "-1", "1025", "two")),
        *(("API_WORKERS", text) for text in ("0", "257", "all")),
        *(("SPLIT", text) for text in ("fair", "RANDOM")),
        *(("NOBODY", text) for text in ("keep", "house")),
        *(("DURABILITY", text) for text in ("none", "everysec")),
        *(("ORDER_PREFIX", text) for text in ("TOOLONG", "T-T", "打卡", "T T")),
        *(("TIMEZONE", text) for text in ("Asia/Peking", "Asia", "../etc/passwd", "/etc/localtime", "+08:00", "x\0y")),
        *(("CHECK_IN_OPENS", text) for text in ("5:00", "05:60", "24:01", "05:00:00", "0500", "morning", "٠5:00")),
        *(("JOIN_CLOSES", text) for text in ("24:30", "midnight")),
        *(("REDIS_DURABILITY", text) for text in ("yes", "fsync", "untrusted")),
        *(("REDIS_URL", text) for text in ("127.0.0.1:6379", "http://h/0", "redis://h:port/0", "redis://[h")),
        *(("REDIS_URL", text) for text in ("redis://h/zero", "redis://h?db=0&colour=red", "redis://:p/w@h/0")),
        *(("REDIS_URL", text) for text in ("redis://h?ssl_ca_certs=/ca.pem", "rediss://h?ssl_cert_reqs=perhaps")),
        *(("QUEUE_URL", text) for text in ("localhost", "postgresql://h/clock", "redis://h:65536")),
        *(("DATABASE_URL", text) for text in ("nonsense", "redis://h", "mysql://h/clock")),
        *(("PLATFORM_URL", text) for text in ("platform.example", "ftp://platform.example")),
        *((name, text) for name in ("REMINDER_URL", "EVENTS_URL") for text in ("reminders", "//platform.example")),
        *(("ORIGINS", text) for text in ("*", "null", "example.org", "https://example.org/", "https://Example.org")),
        *(("ORIGINS", text) for text in ("https://a.example https://b.example:443", "http://a:80", "http://a:0")),
        *(("ORIGINS", text) for text in ("https://*.example", "https://a.example;script-src", "wss://a.example")),
        *(("MINIPROGRAM_PAY", text) for text in ("pages/pay", "/pages/pay?x=1", "/pages/", "https://a.example/pay")),
        *(("WEBHOOK_SECRET", text) for text in ("secret", "WHSEC_c2VjcmV0", "whsec_c2VjcmV0 c2VjcmV0")),
        *(("STATEMENT_KEY", text) for text in ("secret", "PRIVATE+KEY+a+00000000+AQ==", STATEMENT_KEY[:-1])),
        *(("WEBHOOK_SECRET", text) for text in ("whsec_", "whsec_%%%", "whsec_a", "whsec_c2VjcmV0 whsec_")),
    ],
)
def test_each_setting_refuses_what_it_cannot_mean(name: str, text: str) -> None:
    with pytest.raises(BadSetting, match=PREFIX + name):
        load({PREFIX + name: text})


def test_a_refused_url_is_not_repeated() -> None:
    with pytest.raises(BadSetting) as refused:
        load({"CLOCK_DATABASE_URL": "postgres:/clock:hush@db/clock"})
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("ENV", "dev", "dev"),
        ("PORT", "0", 0),
        ("PORT", " 65535 ", 65_535),
        ("STAKE_FEN", "1", 1),
        ("STAKE_FEN", "100000000", 10**8),
        ("FEE_BPS", "10000", 10_000),
        ("SHARDS", "1024", 1024),
        ("SPLIT", "equal", "equal"),
        ("NOBODY", "carry", "carry"),
        ("ORDER_PREFIX", "Ab9xYZ", "Ab9xYZ"),
        ("TIMEZONE", "UTC", "UTC"),
        ("DATA_DIR", "/var/lib/x y", Path("/var/lib/x y")),
        ("REDIS_URL", "redis://h:1/0", "redis://h:1/0"),
        ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("REDIS_URL", "unix://clock:p%2Fss@/run/redis.sock?db=1", "unix://clock:p%2Fss@/run/redis.sock?db=1"),
        ("REDIS_URL", "redis://clock:p%40%2F%3A@h:1/", "redis://clock:p%40%2F%3A@h:1/"),
        ("REDIS_URL", "rediss://h/0?ssl_ca_certs=/ca.pem&ssl_check_hostname=true", None),
        ("QUEUE_URL", "rediss://:p%40ss@[::1]:6380/1", "rediss://:p%40ss@[::1]:6380/1"),
        ("QUEUE_URL", "rediss://:p%40ss@h/1/?ssl_ca_certs=/ca.pem", None),
        ("QUEUE_URL", "unix:///run/queue.sock", "unix:///run/queue.sock"),
        ("DATABASE_URL", "postgresql://clock:p%40%2Fss@h/clock?sslmode=verify-full&sslrootcert=/ca.pem", None),
        ("DATABASE_URL", "postgresql://clock@%2Frun%2Fpostgresql/clock", None),
        ("DATABASE_URL", "postgresql://h/", "postgresql://h/"),
        ("DATABASE_URL", "postgres:///clock?host=/run/postgresql", "postgres:///clock?host=/run/postgresql"),
        ("DATABASE_URL", "postgresql://one:1,two:2/clock", "postgresql://one:1,two:2/clock"),
        ("PLATFORM_URL", "https://platform.example/clock", "https://platform.example/clock"),
        ("WEBHOOK_SECRET", "whsec_c2VjcmV0 whsec_b2xk", "whsec_c2VjcmV0 whsec_b2xk"),
        ("ORIGINS", "https://a.example:8443 http://[::1]:8000", None),
        ("MINIPROGRAM_PAY", "/pages/pay_here/index", "/pages/pay_here/index"),
        ("STAKE_FEN", "", 100),
        ("STAKE_FEN", "   ", 100),
        ("CHECK_IN_OPENS", "00:00", "00:00"),
    ],
)
def test_a_value_is_read(name: str, text: str, value: Any) -> None:
    """``None``: as it is written."""
    assert getattr(load({PREFIX + name: text}), name.lower()) == (text if value is None else value)


@pytest.mark.parametrize(
    "earlier, later",
    [
        ("check_in_opens", "check_in_closes"),
        ("check_in_closes", "settle_at"),
        ("settle_at", "claim_closes"),
        ("join_opens", "join_closes"),
    ],
)
def test_windows_are_in_order(earlier: str, later: str) -> None:
    start = getattr(Settings(), earlier)
    for text in (start, "00:00"):
        with pytest.raises(BadSetting, match=PREFIX + later.upper()) as raised:
            load({PREFIX + later.upper(): text})
        assert PREFIX + earlier.upper() in str(raised.value)


def test_windows_a_minute_apart_are_in_order() -> None:
    times = {"CHECK_IN_OPENS": "00:00", "CHECK_IN_CLOSES": "00:01", "SETTLE_AT": "00:02", "CLAIM_CLOSES": "00:03"}
    times |= {"JOIN_OPENS": "23:58", "JOIN_CLOSES": "23:59"}
    settings = load({PREFIX + name: text for name, text in times.items()})
    assert (settings.check_in_opens, settings.claim_closes, settings.join_closes) == ("00:00", "00:03", "23:59")


def test_lucky_money_needs_somebody_to_be_lucky() -> None:
    with pytest.raises(BadSetting, match="CLOCK_LUCKY_COUNT"):
        load({"CLOCK_LUCKY_BPS": "500"})
    assert load({"CLOCK_LUCKY_BPS": "500", "CLOCK_LUCKY_COUNT": "3"}).lucky_bps == 500


def test_names_that_no_setting_has_are_listed() -> None:
    environ = {"CLOCK_STAKE": "1", "CLOCK_STAKE_FEN": "100", "PATH": "/bin", "CLOCK_SHARD": "2", "clock_x": "1"}
    assert unknown_names(environ) == ["CLOCK_SHARD", "CLOCK_STAKE"]
    assert unknown_names({PREFIX + field.name.upper(): "" for field in FIELDS}) == []


def test_a_setting_may_be_the_content_of_a_file(tmp_path: Path) -> None:
    values = {
        "CLOCK_ENV": "dev",
        "CLOCK_REDIS_URL": "redis://:secret@redis:6379/0",
        "CLOCK_DATABASE_URL": "postgresql://clock:secret@postgres/clock",
        "CLOCK_JWT_SECRET": "a secret with spaces",
        "CLOCK_JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----",
        "CLOCK_WEBHOOK_SECRET": "whsec_YQ==\nwhsec_Yg==",
        "CLOCK_DATA_DIR": "/srv/clock",
        "CLOCK_STAKE_FEN": "7",
    }
    for name, text in values.items():
        (tmp_path / name).write_text(f"  {text}\n")
    assert load({f"{name}_FILE": str(tmp_path / name) for name in values}) == load(values) != Settings()
    assert unknown_names({f"{PREFIX}{field.name.upper()}_FILE": "" for field in FIELDS}) == []
    with pytest.raises(BadSetting, match="CLOCK_SHARDS='many'"):
        (tmp_path / "shards").write_text("many")
        load({"CLOCK_SHARDS_FILE": str(tmp_path / "shards")})


def test_a_file_that_gives_no_value_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret that nobody hears of\n")
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for file, why in {
        "absent": "No such file",
        "": "Is a directory",
        "empty": "is empty",
        "bytes": "is not a text in UTF-8",
    }.items():
        with pytest.raises(BadSetting, match=f"^CLOCK_JWT_SECRET_FILE='{tmp_path / file}.* {why}") as refused:
            load({"CLOCK_JWT_SECRET_FILE": f"{tmp_path}/{file}"})
        assert "\n" not in str(refused.value)
    with pytest.raises(BadSetting, match=r"^CLOCK_JWT_SECRET and CLOCK_JWT_SECRET_FILE are both set: remove one$"):
        load({"CLOCK_JWT_SECRET_FILE": f"{tmp_path}/secret", "CLOCK_JWT_SECRET": "another"})


def test_the_queue_is_in_the_same_redis_unless_it_has_its_own() -> None:
    assert Settings(redis_url="redis://a").arq_url == "redis://a"
    assert Settings(redis_url="redis://a", queue_url="redis://b").arq_url == "redis://b"


def test_settings_never_change() -> None:
    with pytest.raises(AttributeError):
        Settings().stake_fen = 1  # type: ignore[misc]


def test_windows_that_vanish_when_the_clocks_go_forward_are_refused_before_that_day() -> None:
    times = {"CLOCK_TIMEZONE": "America/New_York", "CLOCK_CHECK_IN_OPENS": "02:30", "CLOCK_CHECK_IN_CLOSES": "03:00"}
    with pytest.raises(
        BadSetting, match="do not fit America/New_York, where clocks change: check_in_closes=03:00 is not"
    ):
        load(times)
    load({**times, "CLOCK_TIMEZONE": "Asia/Shanghai"})
    load({**times, "CLOCK_CHECK_IN_CLOSES": "03:01"})
