"""Stand-in children, and a supervisor in a process of its own."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from clock.config import Settings
from clock.runtime.crew import Child
from clock.runtime.supervise import Plan, environment, page

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
NEVER_READY = SERVE.replace("> 0.3", "> 3600")


def stand_ins(*scripts: str, migrate: str = "") -> Callable[[Settings], Plan]:
    """A plan whose children are Python one-liners, named ``child-0``, ``child-1`` …"""

    def plan(settings: Settings) -> Plan:
        def child(name: str, script: str) -> Child:
            url = f"{page(settings)}readyz" if script in (SERVE, NEVER_READY) else ""
            return Child(
                name=name,
                command=[sys.executable, "-S", "-c", script],
                env=environment(settings),
                ready_url=url,
            )

        children = [child(f"child-{number}", script) for number, script in enumerate(scripts)]
        return Plan(migrate=child("migrate", migrate), children=children)

    return plan


async def until(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
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


SUPERVISOR = """
import asyncio, pathlib, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
sys.path.insert(0, sys.argv[1])
import stage as stand_in
from clock.runtime.supervise import up
settings = stand_in.Settings(env="dev", data_dir=pathlib.Path(sys.argv[2]), port=0,
                             redis_url="redis://127.0.0.1:1", database_url="postgresql://127.0.0.1:1/d")
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
