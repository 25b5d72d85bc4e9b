"""``clock up``: runs embedded servers, migrations, API and worker as child processes, and supervises them.

Children run in their own sessions, so that Ctrl-C in a terminal reaches only the supervisor, which stops them in
reverse order. If the supervisor is killed, the kernel signals them (on Linux). Children hold the lock of the data
directory until the last has exited, so that the next start waits for them.
"""

import asyncio
import math
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Literal, TypedDict

import aiohttp
import msgspec
import structlog

from clock import logs
from clock.config import PREFIX, Settings, variables
from clock.operators.older_keys import move_at
from clock.runtime import directory, embedded, ports
from clock.runtime.crew import Child, Crew, StartError, launcher
from clock.runtime.dev_keys import APP_ID, MCHID
from clock.runtime.directory import DataDirError
from clock.runtime.processes import EmbeddedError
from clock.runtime.start_check import start_check
from clock.service import require_secrets

HESITATION_S = 20.0
"""If the API is alive but not ready after this long, its address is announced anyway."""

log = structlog.get_logger("clock.supervise")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The processes besides the servers: ``migrate`` runs to its end first, then ``children`` run for good."""

    migrate: Child
    children: list[Child]


class Urls(TypedDict):
    """``running.json``: the URLs of a running stack, and its supervisor's process id."""

    redis_url: str
    database_url: str
    host: str
    port: int
    page: str
    env: str
    platform_url: str
    events_url: str
    channel: Literal["platform", "wechat", "alipay"]
    wechat_url: str
    alipay_url: str
    public_url: str
    beacon: str
    beacon_relays: str
    pid: int


def plan(settings: Settings) -> Plan:
    """The processes of ``clock up``, for settings in which every URL and secret is filled in."""
    env, clock = environment(settings), [sys.executable, "-m", "clock"]
    healthy = f"{settings.platform_url}/healthz"
    sandbox = Child(name="sandbox", command=[*clock, "sandbox"], env=env, ready_url=healthy)
    doubles = [
        Child(name=name, command=[*clock, "sandbox", name], env=env, ready_url=f"{url}/healthz")
        for name, url in double_urls(settings).items()
    ]
    return Plan(
        migrate=Child(name="migrate", command=[*clock, "migrate"], env=env),
        children=[
            *([sandbox] if settings.sandbox_port else []),
            *doubles,
            Child(name="api", command=[*clock, "api"], env=env, ready_url=f"{page(settings)}readyz"),
            Child(name="worker", command=[*clock, "worker"], env=env),
        ],
    )


def environment(settings: Settings) -> dict[str, str]:
    """Our own environment, with every ``CLOCK_*`` variable set from the settings, whether or not from a file."""
    names = {PREFIX + name.upper(): getattr(settings, name) for name in Settings.__struct_fields__}
    others = {name: value for name, value in os.environ.items() if name not in variables()}
    return others | {name: str(value) for name, value in names.items() if value != ""}


def page(settings: Settings) -> str:
    """The address of the players' page on this host, with a slash at the end."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - read, not bound
    return f"http://[{host}]:{settings.port}/" if ":" in host else f"http://{host}:{settings.port}/"


def running_urls(data_dir: Path) -> Urls | None:
    """The URLs of this data directory's stack, or None unless its supervisor is alive."""
    try:
        urls = msgspec.json.decode((data_dir / "running.json").read_bytes(), type=Urls)
    except FileNotFoundError:
        return None
    return urls if directory.alive(urls["pid"]) and directory.locked(data_dir / "lock") else None


async def up(settings: Settings, plan: Callable[[Settings], Plan] = plan) -> int:
    """Run everything until SIGINT, SIGTERM or SIGHUP; return the exit code: 0 after these, 1 if it cannot start.

    Must be called in the main thread. A second signal kills every child at once. Raises :class:`BadSetting`
    for settings and servers that the service refuses.
    """
    logs.configure("supervisor")
    crew = Crew()
    with _signals(crew) as received:
        try:
            async with _stack(settings, plan, crew) as (urls, children):
                await _announce(urls, children)
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not received:
                raise
        except (DataDirError, EmbeddedError, StartError) as error:
            log.error("start_failed", reason=str(error))
            return 1
    log.info("stopped", signal=received[0].name)
    return 0


async def remove_data(data_dir: Path) -> None:
    """Remove the data of a stack and its servers. Raises :class:`DataDirError` while a process uses it, and for a
    directory without such data."""
    if not (data_dir / "lock").exists():
        raise DataDirError(f"{data_dir} is no data directory: it has no file `lock`")
    with ExitStack() as locks:
        for name in ("lock", "valkey.lock", "postgres.lock"):
            locks.callback(os.close, await directory.lock(data_dir / name, 0))
        embedded.remove(data_dir)


@asynccontextmanager
async def running(
    settings: Settings,
    plan: Callable[[Settings], Plan] = plan,
    *,
    ready_s: float = 60.0,
    quiet: bool = False,
) -> AsyncIterator[Urls]:
    """The whole stack, ready to serve; stopped at the end. Port 0 takes a free one.

    ``quiet``: the children's output goes to ``DATA_DIR/log/NAME.log``. Raises :class:`StartError`,
    :class:`DataDirError`, :class:`EmbeddedError` or :class:`BadSetting` if it cannot start or is not ready within
    ``ready_s``.
    """
    async with _stack(settings, plan, Crew(quiet=quiet)) as (urls, children):
        for child in children:
            await _wait_ready(child, ready_s)
        yield urls


@asynccontextmanager
async def _stack(
    settings: Settings, plan: Callable[[Settings], Plan], crew: Crew
) -> AsyncIterator[tuple[Urls, list[Child]]]:
    """All processes started, not necessarily ready."""
    data_dir = directory.create(settings.data_dir)
    async with AsyncExitStack() as cleanup:
        lock = await directory.lock(data_dir / "lock")
        cleanup.callback(os.close, lock)
        settings = msgspec.structs.replace(settings, data_dir=data_dir, port=free_port(settings.host, settings.port))
        settings = directory.with_dev_secrets(with_doubles(settings))
        cleanup.push_async_callback(crew.stop)
        others = bool(settings.redis_url or settings.database_url)  # our own fit
        settings = await _start_servers(settings, crew)
        require_secrets(settings)
        if others:
            await start_check(settings, migrated=False)
        steps, logs = plan(settings), data_dir / "log" if crew.quiet else None
        await crew.run_once(steps.migrate, lock, logs)
        if others:
            await start_check(settings)
        urls = _urls(settings)
        cleanup.callback((data_dir / "running.json").unlink, missing_ok=True)
        directory.write_private(data_dir / "running.json", msgspec.json.encode(urls).decode())
        for child in steps.children:
            await crew.keep(child.name, launcher(child, lock, logs), signal.SIGTERM)
        yield urls, steps.children


async def _start_servers(settings: Settings, crew: Crew) -> Settings:
    """Start the servers for which no URL is given; return the settings with the URLs filled in."""
    if not settings.redis_url:
        url = await crew.keep_server(embedded.Valkey(settings.data_dir))
        await move_at(url)  # nobody else may use it: we hold its directory
        settings = msgspec.structs.replace(settings, redis_url=url)
    if not settings.database_url:
        url = await crew.keep_server(embedded.Postgres(settings.data_dir))
        settings = msgspec.structs.replace(settings, database_url=url)
    return settings


def with_doubles(settings: Settings) -> Settings:
    """In development: the sandbox provider without a platform's URL, the double of the channel's provider where no
    merchant is named, and that of the beacon where it is asked for. A provider's double that was here before comes
    again: what is owed through it has to arrive."""
    if settings.env != "dev":
        return settings
    wechat, alipay = (
        settings.channel == name or (settings.data_dir / f"{name}.keys").exists() for name in ("wechat", "alipay")
    )
    if wechat and not settings.wechat_mchid and not directory.is_here(settings.wechat_url):
        settings = msgspec.structs.replace(settings, wechat_url=_own_url())
    if alipay and not settings.alipay_app_id and not directory.is_here(settings.alipay_url):
        settings = msgspec.structs.replace(settings, alipay_url=f"{_own_url()}/gateway.do")
    if (wechat or alipay) and not settings.public_url:
        settings = msgspec.structs.replace(settings, public_url=page(settings).rstrip("/"))
    if settings.beacon == directory.BEACON_DOUBLE and not settings.beacon_relays:
        settings = msgspec.structs.replace(settings, beacon_relays=_own_url())
    if settings.platform_url:
        return settings
    port = settings.sandbox_port or free_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}"
    return msgspec.structs.replace(
        settings, sandbox_port=port, platform_url=url, reminder_url=settings.reminder_url or f"{url}/reminders"
    )


def _own_url() -> str:
    return f"http://127.0.0.1:{free_port('127.0.0.1', 0)}"


def double_urls(settings: Settings) -> dict[str, str]:
    """Where the doubles listen that these settings have, by channel, and ``beacon``."""
    urls = {}
    if settings.env == "dev" and settings.wechat_mchid == MCHID and directory.is_here(settings.wechat_url):
        urls["wechat"] = settings.wechat_url
    if settings.env == "dev" and settings.alipay_app_id == APP_ID and directory.is_here(settings.alipay_url):
        urls["alipay"] = settings.alipay_url.removesuffix("/gateway.do")
    if settings.env == "dev" and directory.is_beacon_double(settings) and directory.is_here(settings.beacon_relays):
        urls["beacon"] = settings.beacon_relays
    return urls


def free_port(host: str, port: int) -> int:
    """The port, if it is free, or any free one for 0. Raises :class:`StartError` if a process listens already.

    Otherwise that process might answer our readiness check.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.create_server((host, port or ports.free_port(host)), family=family) as probe:
            found: int = probe.getsockname()[1]
            return found
    except OSError as error:
        raise StartError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another with CLOCK_HOST, CLOCK_PORT"
        ) from None


def _urls(settings: Settings) -> Urls:
    return Urls(
        redis_url=settings.redis_url,
        database_url=settings.database_url,
        host=settings.host,
        port=settings.port,
        page=page(settings),
        env=settings.env,
        platform_url=settings.platform_url,
        events_url=settings.events_url,
        channel=settings.channel,
        wechat_url=settings.wechat_url,
        alipay_url=settings.alipay_url,
        public_url=settings.public_url,
        beacon=settings.beacon,
        beacon_relays=settings.beacon_relays,
        pid=os.getpid(),
    )


@contextmanager
def _signals(crew: Crew) -> Iterator[list[signal.Signals]]:
    """SIGINT, SIGTERM and SIGHUP cancel this task; a second one kills the crew. Yields what was received."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    received: list[signal.Signals] = []

    def receive(number: signal.Signals) -> None:
        received.append(number)
        log.info("stopping" if len(received) == 1 else "killing", signal=number.name)
        if len(received) > 1:
            crew.kill()
        task.cancel()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # a closed terminal; under nohup it is ignored
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, receive, number)
    try:
        yield received
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _announce(urls: Urls, children: list[Child]) -> None:
    """Print the address of the players' page once, when it is ready or, after a while, when it is alive."""
    try:
        for child in children:
            await _wait_ready(child, HESITATION_S)
    except StartError as error:
        log.warning("not_ready", reason=str(error))
        await _wait_for([f"{urls['page']}readyz", f"{urls['page']}healthz"], math.inf)
    log.info("ready", page=urls["page"])
    logs.say(f"\n  {urls['page']}\n")


async def _wait_ready(child: Child, timeout_s: float) -> None:
    if child.ready_url and not await _wait_for([child.ready_url], timeout_s):
        raise StartError(f"{child.name} is not ready after {timeout_s:.0f} s: {child.ready_url}")


async def _wait_for(urls: list[str], timeout_s: float) -> bool:
    """Whether one of the URLs answers 200 within the time."""
    deadline = time.monotonic() + timeout_s
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
        while time.monotonic() < deadline:
            for url in urls:
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(url) as reply:
                        if reply.status == 200:
                            return True
            await asyncio.sleep(0.1)
    return False
