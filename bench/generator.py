"""The load generator's own limit, which must not be the bottleneck; and what wrk measures on the same servers."""

import asyncio
import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.check_in import PATH
from bench.load import Job
from bench.measure import Result, Scale, spread, target
from bench.scene import MORNING, Scene, bearer, fire, staged

CONNECTIONS = 128
WRK_SECONDS, WRK_QUICK = 5, 2


async def run(scale: Scale) -> Result:
    count, repetitions = scale.of(60_000, 30_000), scale.of(3, 2)
    result = Result(name="generator")
    async with staged(**MORNING) as scene:
        uid = scene.uids(1)[0]
        await scene.members(scene.yesterday, [uid])
        request = scene.of_users(PATH, [uid])
        ports = {which: await scene.serve(which) for which in ("bare", "service")}
        ceilings, own = await _ceiling(request, count, repetitions)
        bare = []
        for _ in range(repetitions):
            job = Job(port=ports["bare"], requests=request, count=count, connections=CONNECTIONS, warm_up=count // 5)
            bare.append((await fire(job)).per_second)
        ratios = [one / other for one, other in zip(ceilings, bare, strict=True)]
        result.targets.append(target("the generator's ceiling", "bare ASGI handler", ratios, ">=", 1.0))
        result.figures = {
            "ceiling against an echo in C's place, requests/s": spread(ceilings),
            "its own CPU µs a request": spread(own),
            "bare ASGI handler, requests/s": spread(bare),
        }
        await _second_opinion(scene, ports, uid, scale, result)
    return result


async def _ceiling(request: list[bytes], count: int, repetitions: int) -> tuple[list[float], list[float]]:
    """Against a server that reads and writes fixed bytes and does nothing else."""
    speeds, costs = [], []
    for _ in range(repetitions):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.echo", stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout
        port = int(await process.stdout.readline())
        report = await fire(Job(port=port, requests=request, count=count, connections=CONNECTIONS, warm_up=count // 5))
        process.terminate()
        await process.wait()
        speeds.append(report.per_second)
        costs.append(1e6 * report.cpu_s / count)
    return speeds, costs


async def _second_opinion(scene: Scene, ports: dict[str, int], uid: int, scale: Scale, result: Result) -> None:
    """wrk on the same path, with one member who has checked in already, so that every answer is a replay."""
    if not shutil.which("wrk"):
        result.notes["wrk"] = "not installed (Debian: apt install wrk)"
        return
    seconds = scale.of(WRK_SECONDS, WRK_QUICK)
    for which, port in ports.items():
        job = Job(port=port, requests=scene.of_users(PATH, [uid]), count=1_000, connections=CONNECTIONS, warm_up=0)
        await fire(job)
        job.count = scale.of(60_000, 15_000)
        ours = (await fire(job)).per_second
        theirs = await _wrk(port, uid, seconds)
        result.figures[f"{which}, the same answer again and again, requests/s"] = spread([ours])
        result.figures[f"{which}, the same, by wrk, requests/s"] = spread([theirs])


async def _wrk(port: int, uid: int, seconds: int) -> float:
    script = (
        f"wrk.method='POST'\nwrk.body='{{\"uid\":{uid}}}'\nwrk.headers['content-type']='application/json'\n"
        f"wrk.headers['authorization']='{bearer(uid)['authorization']}'\n"
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "post.lua"
        path.write_text(script)
        url = f"http://127.0.0.1:{port}{PATH}"
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "-s", str(path), url]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output = (await process.communicate())[0].decode()
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found, output
    assert "Non-2xx" not in output, output
    return float(found.group(1))
