"""Settings: one frozen struct, read once from the environment (``CLOCK_*``)."""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict
from redis.asyncio.connection import ConnectionPool
from redis.exceptions import RedisError

from clock import redis_url
from clock.domain.rounds import Rules
from clock.domain.rulebook import (
    YEARS,
    BasisPoints,
    Fen,
    LuckyCount,
    Nobody,
    OrderPrefix,
    Shards,
    SplitMode,
    Stake,
    TimeOfDay,
    misfit,
    swallowed,
)
from clock.fair.notes import BadKey, signers_of

PREFIX = "CLOCK_"
FILE = "_FILE"
"""``CLOCK_<NAME>_FILE`` names a file whose content is the value of ``CLOCK_<NAME>``: a secret is then in no
environment."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class BadSetting(Exception):
    """A setting that the service cannot start with; the message names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting, by its name without the prefix, in lower case. Times of day are ``HH:MM``."""

    env: Literal["dev", "prod"] = "prod"
    host: str = "127.0.0.1"
    port: Port = 8080
    data_dir: Path = Path(".clock")
    redis_url: str = ""
    queue_url: str = ""
    """arq's own Redis (it cannot live on a cluster); empty: the same as ``redis_url``."""
    database_url: str = ""
    jwt_secret: str = ""
    jwt_public_key: str = ""
    webhook_secret: str = ""
    """One or several ``whsec_…`` separated by spaces: the first signs, all verify."""
    statement_key: str = ""
    """One or several private keys of Ed25519: ``PRIVATE+KEY+<name>+…``, or a name and, below it, PEM. All of them sign
    the statements of rounds, and the first names their origin."""
    channel: Literal["platform", "wechat", "alipay"] = "platform"
    """The payment channel of new orders that name none."""
    platform_url: str = ""
    """Base URL of the platform channel's calls; empty: refunds and payouts stay owed."""
    public_url: str = ""
    """Where providers reach this service, without a path: ``https://game.example.org``. Needed by wechat and alipay."""
    withdraw_min_fen: Fen = 30
    """A balance can be withdrawn from here on, or from the channel's own minimum if that is higher."""
    wechat_url: str = "https://api.mch.weixin.qq.com"
    """Base URL of WeChat Pay's API v3."""
    wechat_mchid: Annotated[str, msgspec.Meta(pattern=r"^(\d{8,10})?$")] = ""
    """The merchant's number; empty: there is no channel wechat. With it the next five are required."""
    wechat_appid: str = ""
    wechat_serial: str = ""
    """Serial number of the merchant's certificate, in hexadecimal digits."""
    wechat_private_key: str = ""
    """The merchant's private key, PEM."""
    wechat_api_v3_key: str = ""
    """32 bytes; notifications are encrypted with it."""
    wechat_keys: str = ""
    """What WeChat signs with, one or several: a public key (PEM) below a line with its id ``PUB_KEY_ID_…``, or a
    platform certificate (PEM)."""
    wechat_scene: str = "1000"
    """The id of the approved scene of transfers."""
    wechat_report: str = "活动名称=早起打卡;奖励说明=早起红包"
    """What the scene wants to be told: ``type=content`` separated by semicolons."""
    wechat_most_fen: Fen = 20_000
    """The most that one transfer may carry; a larger balance leaves in several."""
    alipay_url: str = "https://openapi.alipay.com/gateway.do"
    alipay_app_id: Annotated[str, msgspec.Meta(pattern=r"^\d{0,32}$")] = ""
    """The application's number; empty: there is no channel alipay."""
    alipay_seller_id: str = ""
    """The merchant's number, ``2088…``."""
    alipay_private_key: str = ""
    """The application's private key, PEM."""
    alipay_public_key: str = ""
    """Alipay's public key, PEM: key mode. Empty: certificate mode, with the next three."""
    alipay_app_cert: str = ""
    """The application's certificate, PEM."""
    alipay_root_cert: str = ""
    """Alipay's root certificates, PEM."""
    alipay_certs: str = ""
    """Alipay's certificates, PEM, one or several: what it signs with."""
    alipay_product: Literal["TRANS_ACCOUNT_NO_PWD", "STD_RED_PACKET"] = "TRANS_ACCOUNT_NO_PWD"
    """The product of transfers: to the account from 10 fen on, as a red packet from 1 fen on."""
    reminder_url: str = ""
    """Receives ``reminder.due``; empty: no reminders."""
    events_url: str = ""
    """Receives events; empty: none is recorded or sent."""
    sandbox_port: Port = 0
    """Port of the sandbox provider on this host; development chooses a free one."""
    api_workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 2
    durability: Literal["fsync", "replica"] = "fsync"
    redis_durability: Literal["checked", "trusted"] = "checked"
    """``trusted``: whoever runs Redis has set what its CONFIG command does not show us."""
    skew_ms: Annotated[int, msgspec.Meta(ge=1_000, le=60_000)] = 5_000
    """How far the clocks of Redis, Postgres and the worker may be apart before settlement and money wait."""
    user_rate: Annotated[int, msgspec.Meta(ge=1)] = 200
    """Rate limit: requests a second by one user to one API process."""
    client_rate: Annotated[int, msgspec.Meta(ge=0)] = 300
    """Rate limit: requests without a token a second from one address to one API process; 0: none."""
    proxies: str = "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 ::1/128 fc00::/7"
    """Networks of proxies, separated by spaces: what they say in ``X-Forwarded-For`` is believed."""
    origins: str = ""
    """Whose pages may call from a browser and frame the players' page, separated by spaces: ``https://example.org``."""
    miniprogram_pay: Annotated[str, msgspec.Meta(pattern=r"^(/[0-9A-Za-z_-]+)*$")] = ""
    """The page of a WeChat mini-program that takes payments, ``/pages/pay``; empty: there is none."""
    metrics_token: str = ""
    """``/metrics`` wants it as a bearer token; empty: ``/metrics`` is open."""
    second_name_fen: Fen = 0
    """Above it, money that an operator moves needs a second operator's name; 0: never."""
    postgres_disk_gib: Annotated[int, msgspec.Meta(ge=0)] = 0
    redis_disk_gib: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How large the servers' disks are, which they do not tell; 0: unknown, and no alarm."""
    keep_months: Annotated[int, msgspec.Meta(ge=3, le=1_200)] = 24
    """For so many whole months before this one the books stay in the database; older ones may leave for files."""
    archive_dir: str = ""
    """Where months that leave are written; empty: ``archive`` below ``data_dir``."""
    beacon: str = "none"
    """The public draw that is mixed into the seed of a round: ``none``, ``quicknet``, or in development the JSON that
    describes another chain of drand."""
    beacon_relays: str = ""
    """Base URLs of relays of the beacon, separated by spaces; empty: the public ones of quicknet."""
    witnesses: str = ""
    """Who witnesses the log of statements: a public key ``<name>+<id>+<base64>`` and a base URL each, all separated by
    spaces; empty: nobody."""
    protocol: Literal["lean", "ordinary"] = "lean"
    """``ordinary``: no request is answered by the server's protocol itself."""

    order_prefix: OrderPrefix = "TTC"
    timezone: str = "Asia/Shanghai"
    stake_fen: Stake = 100
    split: SplitMode = "random"
    nobody: Nobody = "refund"
    fee_bps: BasisPoints = 0
    packet_cap_fen: Fen = 0
    lucky_count: LuckyCount = 0
    lucky_bps: BasisPoints = 0
    shards: Shards = 1

    join_opens: TimeOfDay = "00:00"
    join_closes: TimeOfDay = "24:00"
    check_in_opens: TimeOfDay = "05:00"
    check_in_closes: TimeOfDay = "08:00"
    settle_at: TimeOfDay = "08:05"
    claim_closes: TimeOfDay = "24:00"
    remind_at: TimeOfDay = "07:30"
    """On the check-in day. Not a rule of a round: a change applies at once."""

    @property
    def browser_origins(self) -> frozenset[bytes]:
        """As a browser's ``Origin`` has them."""
        return frozenset(self.origins.encode().split())

    @property
    def archive_path(self) -> Path:
        return Path(self.archive_dir) if self.archive_dir else self.data_dir / "archive"

    @property
    def clustered(self) -> bool:
        """Whether the rounds are on a cluster."""
        return redis_url.cluster(self.redis_url) is not None

    @property
    def arq_url(self) -> str:
        return self.queue_url or self.redis_url


def rules_of(settings: Settings) -> Rules:
    """The rules that the environment gives: the first default of an empty book, and of nothing else."""
    names = [name for name in Rules.__struct_fields__ if name in Settings.__struct_fields__]
    return Rules(**{name: getattr(settings, name) for name in names})


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings. Raises :class:`BadSetting` with a message that names the setting."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        name = PREFIX + field.name.upper()
        text = _text(environ, name)
        if not text:
            continue
        try:
            values[field.name] = Path(text) if field.type is Path else msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            raise BadSetting(f"{name}={text!r} is not usable: {error}") from None
    settings = Settings(**values)
    _check(settings)
    return settings


def _text(environ: Mapping[str, str], name: str) -> str:
    """The value of a variable, or the content of the file that it names; empty: neither is set."""
    text, file = environ.get(name, "").strip(), environ.get(name + FILE, "").strip()
    if not file:
        return text
    if text:
        raise BadSetting(f"{name} and {name}{FILE} are both set: remove one")
    try:
        text = Path(file).read_text("utf-8").strip()
    except OSError as error:
        raise BadSetting(f"{name}{FILE}={file!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadSetting(f"{name}{FILE}={file!r} is not a text in UTF-8") from None
    if not text:
        raise BadSetting(f"{name}{FILE}={file!r} is empty")
    return text


def variables() -> set[str]:
    """The names of all variables that :func:`load` reads."""
    names = {PREFIX + name.upper() for name in Settings.__struct_fields__}
    return names | {name + FILE for name in names}


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """``CLOCK_*`` variables that are not settings, probably misspelt; named on standard error at start."""
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in variables())


def _check(settings: Settings) -> None:
    try:
        ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadSetting(f"CLOCK_TIMEZONE={settings.timezone!r} is not a time zone") from None
    _check_proxies(settings.proxies)
    _check_urls(settings)
    _check_origins(settings.origins)
    _check_relays(settings.beacon_relays)
    for secret in settings.webhook_secret.split():
        if not secret.startswith("whsec_") or not _is_base64(secret.removeprefix("whsec_")):
            raise BadSetting("CLOCK_WEBHOOK_SECRET must be whsec_<base64>, several separated by spaces")
    try:
        signers_of(settings.statement_key)
    except BadKey as error:
        raise BadSetting(f"CLOCK_STATEMENT_KEY is not usable: {error}") from None
    _check_rules(settings)


def _check_proxies(networks: str) -> None:
    try:
        for network in networks.split():
            ip_network(network)
    except ValueError as error:
        raise BadSetting(f"CLOCK_PROXIES must be networks separated by spaces: {error}") from None


ORIGIN = re.compile(r"https?://(?:[0-9a-z-]+(?:\.[0-9a-z-]+)*|\[[0-9a-f:]+\])(?::[1-9]\d{0,4})?")
"""As browsers write it: in lower case, a port that is not the scheme's own, and nothing after it."""


def _check_origins(origins: str) -> None:
    for origin in origins.split():
        if not ORIGIN.fullmatch(origin) or origin.endswith({"https": ":443", "http": ":80"}[origin.partition(":")[0]]):
            raise BadSetting(
                f"CLOCK_ORIGINS={origin!r} is not an origin as browsers write it, like https://example.org: in lower "
                "case, without a path, and without the port if it is the usual one"
            )


MOST_RELAYS = 16


def _check_relays(relays: str) -> None:
    """Raises :class:`BadSetting`. Relays are logged, so that their URLs hold no secret."""
    urls = relays.split()
    if not all(map(is_base_url, urls)):
        raise BadSetting(
            "CLOCK_BEACON_RELAYS must be URLs separated by spaces, http:// or https:// and a host, without a "
            "password and without a query"
        )
    if len(urls) > MOST_RELAYS:
        raise BadSetting(f"CLOCK_BEACON_RELAYS names more than {MOST_RELAYS} relays")


def is_base_url(url: str) -> bool:
    """Whether paths can be appended to it, and nothing in it is secret."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return good and not any(mark in url for mark in "@?#")


def _redis(url: str) -> None:
    """Makes a connection without connecting: an argument of the URL that the connection does not take is refused here,
    not at the first command."""
    if guards := redis_url.sentinels(url):
        url = guards.server_url
    if cluster := redis_url.cluster(url):
        url = cluster.server_url(cluster.hosts[0])
    path = urlsplit(url).path.strip("/")
    if not url.startswith("unix://") and path and not path.isdecimal():
        raise ValueError
    ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]


def _queue(url: str) -> None:
    if redis_url.cluster(url):
        raise ValueError
    _redis(url)


def _http(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError


QUEUE_SCHEMES = "redis://, rediss://, unix://, redis+sentinel:// or rediss+sentinel://"
REDIS_SCHEMES = f"redis+cluster://, rediss+cluster://, {QUEUE_SCHEMES}"

URLS: dict[str, tuple[Callable[[str], object], str]] = {
    "redis_url": (_redis, REDIS_SCHEMES),
    "queue_url": (_queue, QUEUE_SCHEMES),
    "database_url": (conninfo_to_dict, "postgresql://"),
    "platform_url": (_http, "http:// or https://"),
    "public_url": (_http, "http:// or https://"),
    "wechat_url": (_http, "http:// or https://"),
    "alipay_url": (_http, "http:// or https://"),
    "reminder_url": (_http, "http:// or https://"),
    "events_url": (_http, "http:// or https://"),
}
"""The parser that validates each URL (that of the library which connects to it), and the schemes that it takes."""


def _check_urls(settings: Settings) -> None:
    """Raises :class:`BadSetting` without the URL itself, which may hold a password."""
    for name, (read, beginning) in URLS.items():
        url = getattr(settings, name)
        try:
            if url:
                read(url)
        except (ValueError, TypeError, RedisError, psycopg.ProgrammingError):
            raise BadSetting(f"CLOCK_{name.upper()} is not usable: it must be a URL, {beginning}…") from None


def _is_base64(text: str) -> bool:
    """Whether it decodes to at least one byte; padding is optional."""
    try:
        return bool(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except ValueError:
        return False


def _check_rules(settings: Settings) -> None:
    """Raises :class:`BadSetting` for rules that no round can be played by, or none on a day on which clocks change."""
    rules, today = rules_of(settings), datetime.now(UTC).date()
    remind_at = settings.remind_at if settings.reminder_url else ""
    beacon, end = settings.beacon != "none", today.replace(year=today.year + YEARS, day=1)
    why = misfit(rules, remind_at, lambda name: PREFIX + name.upper(), beacon=beacon)
    if why := why or swallowed(rules, today, end, beacon=beacon):
        raise BadSetting(why)
