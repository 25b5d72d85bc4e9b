"""The supervisor with stand-in children: restarts, signals, the end of everything, and who may attach."""

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis.asyncio
from structlog.testing import capture_logs

from clock.config import BadSetting, Settings
from clock.runtime import crew, embedded, supervise
from clock.runtime.crew import Child, StartError
from clock.runtime.directory import DataDirError, with_dev_secrets
from clock.runtime.supervise import Plan, environment, page, remove_data, running, running_urls

SLEEP = "import time; time.sleep(60)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""
FAIL = "raise SystemExit(3)"
SERVE = """
import http.server, os, time
begun = time.monotonic()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if time.monotonic() - begun > 0.3 else 503)
        self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["CLOCK_PORT"])), Handler).serve_forever()
"""


def stand_ins(*scripts: str, migrate: str = "") -> Callable[[Settings], Plan]:
    """A plan whose children are Python one-liners, named ``child-0``, ``child-1`` …"""

    def plan(settings: Settings) -> Plan:
        def child(name: str, script: str) -> Child:
            url = f"{page(settings)}readyz" if script == SERVE else ""
            return Child(
                name=name,
                command=[sys.executable, "-S", "-c", script],
                env=environment(settings),
                ready_url=url,
            )

        children = [child(f"child-{number}", script) for number, script in enumerate(scripts)]
        return Plan(migrate=child("migrate", migrate), children=children)

    return plan


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with embedded.scratch() as path:
        yield path


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    """With the addresses of servers that nobody asks."""
    return Settings(env="dev", data_dir=data_dir, port=0, redis_url="redis://r", database_url="postgresql://d")


async def until(condition: Callable[[], Any], timeout_s: float = 8.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
    return result


def pids(logs: list[Any], name: str = "") -> list[int]:
    return [log["pid"] for log in logs if log["event"] == "child_started" and name in ("", log["name"])]


def gone(pid: int) -> bool:
    """Whether the process has ended; who waits for it may not have heard yet."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_a_child_that_dies_is_restarted_ever_later_and_this_is_logged(settings: Settings) -> None:
    with capture_logs() as logs:
        async with running(settings, stand_ins(SLEEP, FAIL)):
            await until(lambda: len(pids(logs, "child-1")) == 3)
    exits = [log for log in logs if log["event"] == "child_exited"]
    assert [log["name"] for log in exits[:2]] == ["child-1", "child-1"]
    assert [log["exit_code"] for log in exits[:2]] == [3, 3]
    assert [log["restart_in_s"] for log in exits[:2]] == [0.2, 0.4]
    assert len(pids(logs, "child-0")) == 1


async def test_a_steady_child_is_restarted_without_delay_carried_over(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "STEADY_S", 0.0)
    with capture_logs() as logs:
        async with running(settings, stand_ins(FAIL)):
            await until(lambda: len(pids(logs)) == 3)
    assert {log["restart_in_s"] for log in logs if log["event"] == "child_exited"} == {0.2}


async def test_what_a_dead_child_leaves_of_its_group_is_ended(settings: Settings, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = (
        "import os, time\n"
        "pid = os.fork()\n"
        f"if pid: open({str(note)!r}, 'w').write(str(pid)); time.sleep(0.1); os._exit(1)\n"
        "time.sleep(60)"
    )
    with capture_logs() as logs:
        async with running(settings, stand_ins(script)):
            await until(lambda: any(log["event"] == "child_exited" for log in logs))
            await until(lambda: gone(int(note.read_text())))


async def test_what_children_write_is_for_nobody_else(settings: Settings, tmp_path: Path) -> None:
    """The sandbox provider keeps its books in the data directory, through which others may pass."""
    book = tmp_path / "book"
    async with running(settings, stand_ins(f"open({str(book)!r}, 'w').close()\n{SLEEP}")):
        await until(book.exists)
    assert book.stat().st_mode & 0o777 == 0o600


async def test_children_end_in_reverse_order(settings: Settings) -> None:
    with capture_logs() as logs:
        async with running(settings, stand_ins(SLEEP, SLEEP, SLEEP)):
            pass
    stopped = [(log["name"], log["exit_code"]) for log in logs if log["event"] == "child_stopped"]
    assert stopped == [
        ("child-2", -signal.SIGTERM),
        ("child-1", -signal.SIGTERM),
        ("child-0", -signal.SIGTERM),
    ]
    assert all(gone(pid) for pid in pids(logs))


async def test_failing_migrations_stop_the_start(settings: Settings) -> None:
    with capture_logs() as logs, pytest.raises(StartError, match="migrate exited with 3"):
        async with running(settings, stand_ins(SLEEP, migrate=FAIL)):
            pass
    assert pids(logs) == []


async def test_what_production_refuses_stops_the_start_of_everything(data_dir: Path) -> None:
    """A child that refuses would be started again for ever."""
    bare = Settings(env="prod", data_dir=data_dir, port=0, redis_url="redis://r", database_url="postgresql://d")
    with capture_logs() as logs, pytest.raises(BadSetting, match="CLOCK_JWT_SECRET"):
        async with running(bare, stand_ins(SLEEP)):
            raise AssertionError("it runs")
    assert pids(logs) == []


async def test_running_waits_until_the_api_is_ready(settings: Settings) -> None:
    async with running(settings, stand_ins(SERVE)) as urls:
        assert await supervise._wait_for([f"{urls['page']}readyz"], 0.5)
    with pytest.raises(StartError, match="child-0 is not ready after 0 s"):
        async with running(settings, stand_ins(SERVE), ready_s=0.1):
            pass


async def test_only_a_living_stack_can_be_attached_to(settings: Settings, data_dir: Path) -> None:
    assert running_urls(data_dir) is None
    async with running(settings, stand_ins(SLEEP)) as urls:
        file = data_dir / "running.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert running_urls(data_dir) == urls == json.loads(file.read_text())
        assert urls["redis_url"] == "redis://r"
        assert urls["database_url"] == "postgresql://d"
        assert urls["page"] == f"http://127.0.0.1:{urls['port']}/"
        assert urls["pid"] == os.getpid()
    assert not file.exists()
    file.write_text(json.dumps(urls))
    assert running_urls(data_dir) is None, "our own process lives, but the data directory is not locked"


async def test_a_taken_port_is_refused_before_anything_starts(settings: Settings, data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = Settings(data_dir=data_dir, port=taken.getsockname()[1])
        with pytest.raises(StartError, match=r"Address already in use.*CLOCK_PORT"):
            async with running(there, stand_ins(SLEEP)):
                pass
    assert not (data_dir / "valkey").exists()


def test_children_see_the_settings_and_nothing_that_was_overruled(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOCK_QUEUE_URL", "redis://overruled")
    monkeypatch.setenv("CLOCK_STAKE_FEN", "7")
    monkeypatch.setenv("OTHER", "kept")
    env = environment(settings)
    assert env["CLOCK_REDIS_URL"] == "redis://r"
    assert env["CLOCK_STAKE_FEN"] == "100"
    assert env["CLOCK_DATA_DIR"] == str(settings.data_dir)
    assert env["OTHER"] == "kept"
    assert "CLOCK_QUEUE_URL" not in env


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::", "http://[::1]:80/"),
        ("clock.example", "http://clock.example:80/"),
    ],
)
def test_the_page_is_at_an_address_that_a_browser_can_open(host: str, address: str) -> None:
    assert page(Settings(host=host, port=80)) == address


def test_dev_secrets_are_made_once(data_dir: Path) -> None:
    settings = with_dev_secrets(Settings(env="dev", data_dir=data_dir))
    assert len(base64.urlsafe_b64decode(settings.jwt_secret + "=")) >= 32
    assert settings.webhook_secret.startswith("whsec_")
    assert len(base64.b64decode(settings.webhook_secret.removeprefix("whsec_"))) == 32
    for name in ("jwt.secret", "webhook.secret"):
        assert (data_dir / name).stat().st_mode & 0o777 == 0o600
    assert with_dev_secrets(Settings(env="dev", data_dir=data_dir)) == settings


def test_given_secrets_win_and_production_gets_none(data_dir: Path) -> None:
    given = Settings(env="dev", data_dir=data_dir, jwt_secret="given", webhook_secret="whsec_given")
    public = Settings(env="dev", data_dir=data_dir, jwt_public_key="key", webhook_secret="whsec_given")
    production = Settings(env="prod", data_dir=data_dir)
    for settings in (given, public, production):
        assert with_dev_secrets(settings) == settings
    assert list(data_dir.iterdir()) == []


SUPERVISOR = """
import asyncio, pathlib, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
sys.path.insert(0, sys.argv[1])
import test_supervise as stand_in
from clock.runtime.supervise import up
settings = stand_in.Settings(env="dev", data_dir=pathlib.Path(sys.argv[2]), port=0,
                             redis_url="redis://r", database_url="postgresql://d")
raise SystemExit(asyncio.run(up(settings, stand_in.stand_ins(*sys.argv[3:]))))
"""


class Supervisor:
    """``up`` in a process of its own, with what it logs."""

    def __init__(self, data_dir: Path, *scripts: str, to: int | None = None) -> None:
        """What it and its children say goes to ``output``, or to the descriptor ``to``."""
        here = str(Path(__file__).parent)
        self.output = data_dir / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SUPERVISOR, here, str(data_dir), *scripts],
                stdout=output if to is None else to,
                stderr=subprocess.STDOUT,
            )

    def logs(self) -> list[Any]:
        lines = self.output.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def events(self) -> list[str]:
        return [log["event"] for log in self.logs()]

    async def ready(self) -> None:
        await until(lambda: "ready" in self.events())

    def wait(self) -> int:
        return self.process.wait(timeout=10)


@pytest.fixture
def supervisor(data_dir: Path) -> Iterator[Callable[..., Supervisor]]:
    begun: list[Supervisor] = []

    def begin(*scripts: str, to: int | None = None) -> Supervisor:
        begun.append(Supervisor(data_dir, *scripts, to=to))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.wait()
        for pid in pids(each.logs()):
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_a_signal_ends_all(supervisor: Callable[..., Supervisor], data_dir: Path, number: signal.Signals) -> None:
    up = supervisor("print('Guten Morgen, 早上好', flush=True)\n" + SLEEP, SERVE)
    await up.ready()
    urls = running_urls(data_dir)
    assert urls is not None
    children = pids(up.logs())
    assert [os.getsid(pid) for pid in children] == children, "Ctrl-C in a terminal must not reach them"
    up.process.send_signal(number)
    assert up.wait() == 0
    assert all(gone(pid) for pid in children)
    assert running_urls(data_dir) is None
    output = up.output.read_text()
    assert "\nGuten Morgen, 早上好\n" in output, "what children say is passed on unchanged"
    assert f"\n  {urls['page']}\n" in output
    assert up.events()[-4:] == ["stopping", "child_stopped", "child_stopped", "stopped"]


def nowhere(how: str) -> tuple[int, int]:
    """A descriptor to which nothing can be written, and the other end of its pipe."""
    if how == "disk full":
        return os.open("/dev/full", os.O_WRONLY), os.open(os.devnull, os.O_RDONLY)
    reader, writer = os.pipe()
    if how == "reader asleep":
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        return writer, reader
    os.close(reader)
    return writer, os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize("how", ["reader gone", "reader asleep", "disk full"])
async def test_a_log_that_cannot_be_written_stops_neither_restarts_nor_signals(
    supervisor: Callable[..., Supervisor], data_dir: Path, how: str
) -> None:
    note = f"import os, pathlib; pathlib.Path({str(data_dir / 'child')!r}).write_text(str(os.getpid()));"
    output, other_end = nowhere(how)
    up = supervisor(note + SLEEP, SERVE, to=output)
    child = data_dir / "child"
    try:
        await until(lambda: child.exists() and child.read_text())
        first = child.read_text()
        os.kill(int(first), signal.SIGKILL)
        await until(lambda: child.read_text() not in ("", first))
        up.process.send_signal(signal.SIGTERM)
        assert up.wait() == 0
        assert gone(int(child.read_text()))
    finally:
        os.close(output)
        os.close(other_end)


async def test_a_second_signal_kills_at_once(supervisor: Callable[..., Supervisor]) -> None:
    up = supervisor(SLEEP, STUBBORN)
    await until(lambda: "deaf" in up.output.read_text())
    up.process.send_signal(signal.SIGTERM)
    await until(lambda: "stopping" in up.events())
    await asyncio.sleep(0.2)
    assert up.process.poll() is None
    up.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert up.wait() == 0
    assert time.monotonic() - began < 3
    assert all(gone(pid) for pid in pids(up.logs()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children that their parent has died")
async def test_a_second_supervisor_is_refused_and_a_killed_one_leaves_no_children(
    supervisor: Callable[..., Supervisor], settings: Settings, data_dir: Path
) -> None:
    up = supervisor(SLEEP, SERVE)
    await up.ready()
    with pytest.raises(DataDirError, match=f"{data_dir} is in use by process {up.process.pid}"):
        async with running(settings, stand_ins(SLEEP)):
            pass
    assert running_urls(data_dir) is not None
    children = pids(up.logs())
    up.process.kill()
    up.wait()
    await until(lambda: all(gone(pid) for pid in children))
    assert running_urls(data_dir) is None
    async with running(settings, stand_ins(SLEEP)):
        pass


async def test_what_a_killed_supervisor_left_behind_is_waited_for(
    supervisor: Callable[..., Supervisor], settings: Settings
) -> None:
    up = supervisor(STUBBORN)
    await until(lambda: "deaf" in up.output.read_text())
    up.process.kill()
    up.wait()
    [leftover] = pids(up.logs())
    asyncio.get_running_loop().call_later(0.5, os.kill, leftover, signal.SIGKILL)
    began = time.monotonic()
    async with running(settings, stand_ins(SLEEP)):
        assert time.monotonic() - began >= 0.4


def bound(port: int) -> socket.socket | None:
    """Take the port, once it is free, before its server is back."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return None


async def test_embedded_servers_run_and_come_back_at_the_same_address(data_dir: Path) -> None:
    settings = Settings(env="dev", data_dir=data_dir, port=0)
    with capture_logs() as logs:
        async with running(settings, stand_ins(SLEEP)) as urls:
            async with await psycopg.AsyncConnection.connect(urls["database_url"]) as connection:
                await connection.execute("SELECT 1")
            async with redis.asyncio.Redis.from_url(urls["redis_url"]) as client:
                await client.set("word", "kept")
            os.kill(pids(logs, "valkey")[0], signal.SIGKILL)
            with await until(lambda: bound(embedded.Valkey(data_dir).port)):
                await until(lambda: len(pids(logs, "valkey")) == 2)
            await embedded.wait_ready(embedded.Valkey(data_dir), 5)
            async with redis.asyncio.Redis.from_url(urls["redis_url"]) as client:
                assert await client.get("word") == b"kept"
    ended = [(log["name"], log["exit_code"]) for log in logs if log["event"] == "child_stopped"]
    assert ended == [("child-0", -signal.SIGTERM), ("postgres", 0), ("valkey", 0)]


async def test_removing_a_data_directory_takes_all_of_it_and_only_while_nobody_uses_it(data_dir: Path) -> None:
    place = data_dir / "data"
    server = embedded.Postgres(place)
    async with embedded.started(server):
        data = server.data
        with pytest.raises(DataDirError, match="no data directory"):
            await remove_data(place)
        (place / "lock").touch()
        with pytest.raises(DataDirError, match=r"postgres\.lock"):
            await remove_data(place)
        assert await server.answers()
    await remove_data(place)
    assert not place.exists()
    assert not data.exists()


async def test_quiet_children_write_to_files(settings: Settings, data_dir: Path) -> None:
    async with running(settings, stand_ins("print('hush', flush=True)\n" + SLEEP), quiet=True):
        file = data_dir / "log" / "child-0.log"
        await until(lambda: file.exists() and file.read_text() == "hush\n")
