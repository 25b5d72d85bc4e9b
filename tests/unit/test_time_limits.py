"""A test that hangs fails within its limit, whatever it hangs in, and says where everything stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HANGING = """
import asyncio
import pytest

async def waits_for_nobody():
    await asyncio.get_running_loop().create_future()

@pytest.mark.timeout(1)
async def test_waits():
    await asyncio.create_task(waits_for_nobody(), name="the forgotten one")

@pytest.mark.timeout(1)
async def test_spins():
    while True:
        pass

async def test_goes_on():
    await asyncio.sleep(0)
"""


@pytest.mark.long
@pytest.mark.parametrize("parallel", [[], ["-n", "1"]], ids=["one process", "a worker"])
def test_a_hang_fails_with_all_stacks_and_the_next_test_runs(tmp_path: Path, parallel: list[str]) -> None:
    (tmp_path / "test_hanging.py").write_text(HANGING)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_test_loop_scope = session\naddopts = -p tests.time_limits\n"
    )
    played = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *parallel, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert "2 failed, 1 passed" in played.stdout, played.stdout + played.stderr
    assert "the forgotten one" in played.stdout
    assert "in waits_for_nobody" in played.stdout
    assert played.stdout.count("in test_spins") >= 2, "once by pytest, once among the threads"
    assert played.stdout.count("== threads ==") == played.stdout.count("== tasks ==") == 2
