"""The set for several machines: its parts know each other, and what can be run of it here does what it is for."""

import asyncio
import ipaddress
import itertools
import os
import re
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml  # type: ignore[import-untyped]
from aiohttp import web
from redis.exceptions import NoPermissionError, ResponseError

from clock.config import Settings, load
from clock.game.client.calls import connect
from clock.game.client.node import SCRIPT_SECONDS
from clock.http import protocol
from clock.operators import readiness
from clock.operators.redis_check import DURABLE, require_redis
from clock.runtime import embedded
from clock.runtime.ports import free_port
from clock.runtime.processes import Program
from clock.service import require_secrets
from tests.raw import plain

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "deploy" / "compose"
PAPER = (ROOT / "docs" / "deploy.md").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((PLACE / "compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = {name: one for name, one in SERVICES.items() if re.fullmatch(r"valkey-\d", name)}
APIS = sorted(name for name, one in SERVICES.items() if one.get("command") == ["api"])
BALANCER = re.sub(r" *#.*", "", (PLACE / "haproxy.cfg").read_text("utf-8"))
"""Without its comments."""

PROMETHEUS = yaml.safe_load((PLACE / "prometheus.yml").read_text("utf-8"))
[MAKE_SECRETS] = re.findall(r"^```sh\n(mkdir -m 700 .+?)\n```$", PAPER, re.MULTILINE | re.DOTALL)
SECRETS = "/run/secrets/"

HAPROXY, PROMTOOL = shutil.which("haproxy"), shutil.which("promtool")
SLOTS = 16_384


def mounted(service: str) -> dict[str, Path]:
    """The files of the repository that the service has, by their path in it."""
    configs = SERVICES[service]["configs"]
    return {one["target"]: (PLACE / COMPOSE["configs"][one["source"]]["file"]).resolve() for one in configs}


def test_what_there_is() -> None:
    assert len(NODES) == 6 and APIS == ["api-1", "api-2"]
    workers = [one for one in SERVICES.values() if one.get("command") == ["worker"]]
    assert len(workers) == 2
    rows = {
        name for cell in re.findall(r"^\| ([^|]+) \|", PAPER, re.MULTILINE) for name in re.findall("`([^`]+)`", cell)
    }
    assert SERVICES.keys() - rows == {f"valkey-{n}" for n in range(2, 6)}, "between the first and the last"
    assert set(COMPOSE["configs"]) == {one["source"] for each in SERVICES.values() for one in each.get("configs", [])}
    assert all((PLACE / one["file"]).is_file() for one in COMPOSE["configs"].values())
    used = {volume.partition(":")[0] for one in SERVICES.values() for volume in one.get("volumes", [])}
    assert set(COMPOSE["volumes"]) == used


def test_only_the_balancer_and_who_watches_can_be_reached_and_none_of_them_reaches_the_data() -> None:
    assert {name for name, one in SERVICES.items() if "ports" in one} == {"balancer", "prometheus", "grafana"}
    assert COMPOSE["networks"]["data"]["internal"] is True
    for name, one in SERVICES.items():
        networks = set(one.get("networks", ["default"]))
        assert networks == {"default", "data"} if one["image"] == "clock" else len(networks) == 1, name
        assert ("data" in networks) == one["image"].startswith(("clock", "valkey", "postgres")), name


def test_every_node_is_durable_and_keeps_its_address_and_its_data() -> None:
    [pool] = COMPOSE["networks"]["data"]["ipam"]["config"]
    addresses = {name: ipaddress.ip_address(one["networks"]["data"]["ipv4_address"]) for name, one in NODES.items()}
    assert len(set(addresses.values())) == len(NODES)
    for name, address in addresses.items():
        assert address in ipaddress.ip_network(pool["subnet"])
        assert address not in ipaddress.ip_network(pool["ip_range"]), "somebody else may be given it"
        assert NODES[name]["volumes"] == [f"{name}:/data"]
        for setting, value in DURABLE.items():
            assert f"--{setting} {value}" in NODES[name]["command"]
    creates = SERVICES["valkey-cluster"]
    assert creates["command"][-6:] == [f"{address}:6379" for address in addresses.values()]
    assert creates["depends_on"] == {name: {"condition": "service_healthy"} for name in NODES}
    for one in SERVICES.values():
        if one.get("command") in (["api"], ["worker"]):
            assert one["depends_on"]["valkey-cluster"] == {"condition": "service_completed_successfully"}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the commands of docs/deploy.md."""
    place = tmp_path_factory.mktemp("deploy")
    (place / "deploy" / "compose").mkdir(parents=True)
    (place / "docs").symlink_to(ROOT / "docs")
    subprocess.run(["sh", "-ec", MAKE_SECRETS], cwd=place, check=True, env={"PATH": os.environ["PATH"]})
    return place / "deploy" / "compose" / "secrets"


@pytest.fixture(scope="module")
def settings(secrets: Path) -> Settings:
    """Those of an API."""
    environ = {name: value.replace(SECRETS, f"{secrets}/") for name, value in SERVICES["api-1"]["environment"].items()}
    return load({**environ, "CLOCK_PLATFORM_URL": "https://platform.example"})


def test_the_commands_make_every_secret_and_production_accepts_them(secrets: Path, settings: Settings) -> None:
    assert {path.name for path in secrets.iterdir()} == COMPOSE["secrets"].keys()
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert all(path.read_text().strip() for path in secrets.iterdir())
    require_secrets(settings)
    assert (settings.env, settings.durability, settings.shards) == ("prod", "replica", 8)
    assert re.findall(r"[@,]([\w-]+):6379", settings.redis_url) == list(NODES)
    assert "@queue:6379" in settings.queue_url and "@postgres:5432/" in settings.database_url
    assert not re.search(r"\s", (secrets / "metrics_token").read_text())
    passwords = re.findall(r"[0-9a-f]{64}", "".join(path.read_text() for path in sorted(secrets.iterdir())))
    assert len(set(passwords)) == 7, "no two doors have the same key"


# --- the cluster


class Node(embedded.Valkey, frozen=True):
    """The bundled Valkey with the command of the file, and the secrets of the paper."""

    secrets: Path = Path()
    bus_port: int = 0

    @property
    def program(self) -> Program:
        ours = super().program
        command = [one.replace(SECRETS, f"{self.secrets}/") for one in NODES["valkey-1"]["command"][1:]]
        here = [f"--dir {self.data_dir / self.name}", f"--port {self.port}", "--bind 127.0.0.1"]
        here.append(f"--cluster-port {self.bus_port}")
        return Program(command=[ours.command[0], *command, *here], env=ours.env, log=self.log_path, cwd="/")

    @property
    def password(self) -> str:
        return (self.secrets / "valkey.conf").read_text().split(maxsplit=2)[1]


async def create(password: str, nodes: list[Node], place: Path) -> str:
    """Run the script; what it said."""
    cli = place / "valkey-cli"
    if not cli.exists():
        cli.symlink_to(str(shutil.which("redis-cli")))
    env = {"PATH": f"{place}:{os.environ['PATH']}", "REDISCLI_AUTH": password}
    command = ["sh", str(PLACE / "create-cluster.sh"), *(f"127.0.0.1:{node.port}" for node in nodes)]
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.long
@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="needs redis-cli")
async def test_the_script_makes_a_cluster_once_and_production_accepts_it(
    secrets: Path, settings: Settings, tmp_path: Path
) -> None:
    async with AsyncExitStack() as running:
        place = Path(running.enter_context(embedded.scratch()))
        nodes = [Node(place / str(n), secrets=secrets, bus_port=free_port()) for n in range(6)]
        for node in nodes:
            await running.enter_async_context(embedded.started(node))
        clients = [await running.enter_async_context(plain(node.url, decode_responses=True)) for node in nodes]
        assert f"{SLOTS} slots covered" in await create(nodes[0].password, nodes, tmp_path)
        roles = [(await client.info("replication"))["role"] for client in clients]
        assert sorted(roles) == ["master"] * 3 + ["slave"] * 3
        assert await create(nodes[0].password, nodes, tmp_path) == "", "the second time nothing is done"

        url = settings.redis_url
        for name, node in zip(NODES, nodes, strict=True):
            url = url.replace(f"{name}:6379", f"127.0.0.1:{node.port}")
        service = connect(url, replicated=True)
        running.push_async_callback(service.aclose)
        await require_redis(service, settings)
        assert len(await service.nodes()) == 3
        [user] = re.findall(r"//(\w+:\w+)@", settings.redis_url)
        for node, role in zip(nodes, roles, strict=True):
            async with plain(f"redis://{user}@127.0.0.1:{node.port}") as client:
                with pytest.raises(NoPermissionError):
                    await client.flushall()
                if role == "master":
                    await written(client)


async def written(client: Any) -> None:
    """A key of this primary is on the disk of its replica, too."""
    for n in itertools.count():
        try:
            await client.set(f"clock:{n}", 1)
            break
        except ResponseError as error:
            assert str(error).startswith("MOVED"), error
    assert await client.execute_command("WAITAOF", 1, 1, 20_000) == [1, 1]


# --- the balancer


def section(name: str) -> str:
    """Of haproxy.cfg."""
    [text] = re.findall(rf"^{name}\n((?: +.*\n|\n)+)", BALANCER, re.MULTILINE)
    return str(text)


def test_the_balancer_knows_every_api_and_asks_whether_it_is_ready() -> None:
    for name in ("ready", "any"):
        assert re.findall(r"^ +server (\S+) (\S+)$", section(f"backend {name}"), re.MULTILINE) == [
            (api, f"{api}:8080") for api in APIS
        ]
    assert "http-check send meth GET uri /readyz\n" in section("backend ready")
    assert "http-check expect status 200\n" in section("backend ready")
    assert "use_backend any if { nbsrv(ready) eq 0 }\n" in section("frontend players")
    assert mounted("balancer") == {"/usr/local/etc/haproxy/haproxy.cfg": PLACE / "haproxy.cfg"}
    assert SERVICES["balancer"]["ports"] == ["127.0.0.1:8080:8080"]


def test_the_balancer_waits_as_long_as_the_service_takes() -> None:
    seconds = {name: int(value) for name, value in re.findall(r"^ +timeout (\S+) (\d+)s$", BALANCER, re.MULTILINE)}
    assert seconds["check"] > readiness.LOOK_SECONDS + 1, "or a silent Postgres takes every API out"
    assert seconds["server"] > 2 * SCRIPT_SECONDS
    assert seconds["http-keep-alive"] < protocol.IDLE_SECONDS, "its clients go before the API"
    [hard] = re.findall(r"^ +hard-stop-after (\d+)s$", BALANCER, re.MULTILINE)
    assert int(hard) < int(SERVICES["balancer"]["stop_grace_period"].removesuffix("s"))


class FakeApi:
    """Says that it is ready, or that it is not, and who it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = True
        self.forwarded = ""

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/readyz":
            return web.Response(status=200 if self.ready else 503)
        self.forwarded = request.headers.get("X-Forwarded-For", "")
        return web.Response(text=self.name)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Its port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield port
        finally:
            await runner.cleanup()


@asynccontextmanager
async def balanced(apis: list[FakeApi], place: Path) -> AsyncIterator[str]:
    """The balancer before these; its URL."""
    async with AsyncExitStack() as running:
        text = BALANCER.replace("maxconn 20000", "maxconn 200")  # not every machine has the descriptors
        text = text.replace("bind :8080", f"bind 127.0.0.1:{(port := free_port())}")
        for api in apis:
            text = text.replace(f"{api.name}:8080", f"127.0.0.1:{await running.enter_async_context(api.serving())}")
        (place / "haproxy.cfg").write_text(text)
        process = await asyncio.create_subprocess_exec(str(HAPROXY), "-db", "-f", str(place / "haproxy.cfg"))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            await process.wait()


@pytest.mark.long
@pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")
async def test_an_api_that_is_not_ready_is_taken_out_and_put_back(tmp_path: Path) -> None:
    apis = [FakeApi(name) for name in APIS]
    async with balanced(apis, tmp_path) as url, aiohttp.ClientSession() as session:

        async def who() -> set[str]:
            """Who answers sixteen requests."""
            found = set()
            for _ in range(16):
                async with session.get(f"{url}/api/summary") as reply:
                    found.add(await reply.text())
            return found

        async def until(names: set[str]) -> None:
            async with asyncio.timeout(30):
                while True:
                    with suppress(aiohttp.ClientError):
                        if await who() == names:
                            return
                    await asyncio.sleep(0.1)

        await until(set(APIS))
        apis[0].ready = False
        await until({APIS[1]})
        apis[1].ready = False
        await until(set(APIS))  # none is ready: all are asked
        apis[0].ready = True
        await until({APIS[0]})
        assert apis[0].forwarded == "127.0.0.1"
        async with session.get(f"{url}/metrics") as reply:
            assert reply.status == 404


# --- who watches


def test_prometheus_asks_every_api_by_the_rules_of_the_paper() -> None:
    files = mounted("prometheus")
    assert files["/etc/prometheus/prometheus.yml"] == PLACE / "prometheus.yml"
    assert [files[name] for name in PROMETHEUS["rule_files"]] == [ROOT / "docs" / "alerts.yml"]
    [job] = PROMETHEUS["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"{api}:8080" for api in APIS]}]
    token = job["authorization"]["credentials_file"]
    assert token.removeprefix(SECRETS) in SERVICES["prometheus"]["secrets"]
    assert all(SERVICES[api]["environment"]["CLOCK_METRICS_TOKEN_FILE"] == token for api in APIS)
    command = SERVICES["prometheus"]["command"]
    assert "--config.file=/etc/prometheus/prometheus.yml" in command
    assert {f"--storage.tsdb.path={one.partition(':')[2]}" for one in SERVICES["prometheus"]["volumes"]} <= {*command}


@pytest.mark.skipif(PROMTOOL is None, reason="needs promtool")
def test_prometheus_can_read_its_files(secrets: Path, tmp_path: Path) -> None:
    text = (PLACE / "prometheus.yml").read_text("utf-8").replace(SECRETS, f"{secrets}/")
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/", f"{ROOT}/docs/"))
    subprocess.run([str(PROMTOOL), "check", "config", "--lint=all", tmp_path / "prometheus.yml"], check=True)


def test_grafana_has_its_source_and_the_dashboard_of_the_paper() -> None:
    files = mounted("grafana")
    provisioning = "/etc/grafana/provisioning"
    [source] = yaml.safe_load(files[f"{provisioning}/datasources/clock.yml"].read_text("utf-8"))["datasources"]
    assert source["isDefault"] is True and source["type"] == "prometheus"
    [host, port] = source["url"].removeprefix("http://").split(":")
    assert SERVICES[host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]
    [provider] = yaml.safe_load(files[f"{provisioning}/dashboards/clock.yml"].read_text("utf-8"))["providers"]
    assert files[f"{provider['options']['path']}/clock.json"] == ROOT / "docs" / "grafana.json"
