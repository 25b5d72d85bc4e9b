"""Starts the peers: compiled servers that answer check-in as the service does, with its script, on its Redis.

A peer whose tools or libraries are not installed is left out, and :func:`missing` says what it needs.
"""

import asyncio
import grp
import json
import os
import pwd
import shutil
from pathlib import Path
from string import Template
from typing import Any

import msgspec

from bench.scene import JWT_SECRET, WORKERS, Scene
from clock.domain.outcomes import OUTCOMES, Answer, envelope
from clock.domain.rounds import WAIT_CAP_MS
from clock.game import keys
from clock.game.batch import MAX_BATCH, MAX_CALLS, MAX_WAITING
from clock.game.gametime import SKEW_MS
from clock.game.scripts import load
from clock.game.totals import FRESH_SECONDS
from clock.runtime.ports import free_port

HERE = Path(__file__).parent
PATH = "/api/check-in"

WAYS = ("pool", "pipelined", "vectors")
"""Of the program in Go, to ask Redis."""

GO_POOL, NGINX_POOL = 64, 512
"""Connections to Redis, where each has one call in flight. nginx has the number with which it was fastest: one for each
request at 512 connections."""

MODULES = Path("/usr/lib/nginx/modules")
GOPATH = Path("/usr/share/gocode")
"""Where Debian installs nginx' modules and the sources of Go's libraries. No module is downloaded."""

NEEDS = {
    "Go": (
        "golang-go golang-github-valyala-fasthttp-dev golang-github-gomodule-redigo-dev",
        ("go",),
        (GOPATH / "src/github.com/valyala/fasthttp", GOPATH / "src/github.com/gomodule/redigo"),
    ),
    "nginx": (
        "nginx libnginx-mod-http-lua",
        ("nginx",),
        (MODULES / "ndk_http_module.so", MODULES / "ngx_http_lua_module.so"),
    ),
}
"""By tool: Debian's packages, their programs and their files."""

WITH_MONEY = ("checked_in", "already_checked_in")
REFUSALS = ("bad_request", "unauthenticated", "forbidden", "busy", "unavailable")
"""Words that are not the script's. A peer answers ``unavailable`` for words of the script that no user is told."""


def missing(tool: str) -> str:
    """What ``Go`` or ``nginx`` lacks on this machine; empty where nothing does."""
    packages, programs, files = NEEDS[tool]
    lacking = [name for name in programs if not shutil.which(name)] + [str(path) for path in files if not path.exists()]
    return f"no {', no '.join(lacking)} (Debian: apt install {packages})" if lacking else ""


def answers() -> dict[str, dict[str, Any]]:
    """What each word becomes over HTTP: ``http``, and the envelope as ``before`` and ``after`` the pool's fen, which a
    peer puts in; an envelope without fen has no ``after``."""
    told = {
        word: OUTCOMES[word].http
        for word in sorted(OUTCOMES.keys() & {*load("check_in").words, *WITH_MONEY, *REFUSALS})
    }
    return {word: {"http": http, **_envelope(word)} for word, http in told.items()}


def _envelope(word: str) -> dict[str, str]:
    if word not in WITH_MONEY:
        return {"before": envelope(Answer(word), "check_in", "zh").decode()}
    before, _, after = envelope(Answer(word, {"money": 7}), "check_in", "zh").decode().rpartition("7")
    return {"before": before, "after": after}


async def settings(scene: Scene) -> dict[str, Any]:
    """What all peers need to know, on any port; the script is in Redis afterwards."""
    script = load("check_in")
    names = keys.names(scene.yesterday, 0, script.nouns)
    assert await scene.redis.execute_command("SCRIPT", "LOAD", script.source) == script.sha.encode()
    return {
        "path": PATH,
        "threads": WORKERS,
        "redis_port": scene.valkey.port,
        "password": scene.valkey.password,
        "sha": script.sha,
        "keys": names,
        "totals": names[script.nouns.index("totals")],
        "skew_ms": SKEW_MS,
        "fresh_ms": int(FRESH_SECONDS * 1000),
        "answers": answers(),
    }


async def build(folder: Path) -> Path:
    """The program in Go, compiled from Debian's sources of its libraries."""
    program = folder / "peer"
    env = os.environ | {"GO111MODULE": "off", "GOPATH": str(GOPATH), "GOFLAGS": "", "GOCACHE": str(folder / "cache")}
    command = ["go", "build", "-o", str(program), "."]
    process = await asyncio.create_subprocess_exec(*command, cwd=HERE / "go", env=env)
    assert await process.wait() == 0, "go build"
    return program


async def start_go(scene: Scene, program: Path, way: str) -> int:
    """The port of the program in Go with one of :data:`WAYS`."""
    port, path = free_port(), program.with_name(f"{way}.json")
    more = {
        "port": port,
        "way": way,
        "jwt_secret": JWT_SECRET,
        "wait_cap_ms": WAIT_CAP_MS,
        "connections": GO_POOL,
        "most_users": MAX_BATCH,
        "most_calls": MAX_CALLS,
        "most_waiting": MAX_WAITING,
    }
    path.write_bytes(msgspec.json.encode(await settings(scene) | more))
    return await scene.run(way, [str(program), str(path)], port)


async def start_nginx(scene: Scene, folder: Path) -> int:
    """The port of nginx with Lua."""
    port, account = free_port(), pwd.getpwuid(os.getuid())
    pool = {"pool_size": NGINX_POOL // WORKERS, "backlog": MAX_WAITING}
    (folder / "settings.lua").write_text(f"return {lua(await settings(scene) | {'pool': pool})}\n", "utf-8")
    filled = Template((HERE / "nginx" / "nginx.conf").read_text()).substitute(
        account=f"{account.pw_name} {grp.getgrgid(account.pw_gid).gr_name}",
        threads=WORKERS,
        folder=folder,
        modules=MODULES,
        lua=HERE / "nginx",
        port=port,
        path=PATH,
    )
    (folder / "nginx.conf").write_text(filled)
    return await scene.run("nginx", ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"], port)


def lua(value: Any) -> str:
    """A value as Lua source. A text is written as in JSON, which Lua reads as long as there are no control characters
    but line ends and tabs."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{lua(name)}] = {lua(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(map(lua, value)) + "}"
    return json.dumps(value, ensure_ascii=False)
