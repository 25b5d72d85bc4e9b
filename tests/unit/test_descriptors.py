"""The limit of open files: raised at the start as far as it goes, said when it is low, refused when it is too low."""

import resource
import subprocess
import sys

import pytest
from structlog.testing import capture_logs

from clock import descriptors
from clock.descriptors import HELD_BACK, LEAST, Clients

SHOW = "from clock import descriptors; print(descriptors.raise_limit())"


def limited(soft: int, hard: int, *program: str) -> subprocess.CompletedProcess[str]:
    """Run Python under these limits of open files."""
    set_limits = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
    run = "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = [sys.executable, "-c", set_limits + run, *program]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [(256, 2_000, 2_000), (256, 256, 256), (1_024, 20_000, 20_000), (2_000, 2_000, 2_000)],
)
def test_the_soft_limit_is_raised_to_the_hard_one(soft: int, hard: int, raised: int) -> None:
    assert limited(soft, hard, "-c", SHOW).stdout == f"{raised}\n"


def test_too_few_stop_the_command_with_a_sentence() -> None:
    stopped = limited(LEAST - 1, LEAST - 1, "-m", "clock", "token", "7")
    assert stopped.returncode == 2
    assert stopped.stderr == (
        f"clock: this process may open {LEAST - 1} files, and needs {LEAST}: "
        "ulimit -n (systemd: LimitNOFILE) raises that\n"
    )


@pytest.mark.parametrize(("limit", "said"), [(256, True), (65_536, False)])
def test_few_are_said_at_the_start(monkeypatch: pytest.MonkeyPatch, limit: int, said: bool) -> None:
    monkeypatch.setattr(descriptors, "raise_limit", lambda: limit)
    clients = Clients()
    with capture_logs() as logged:
        clients.bound()
    assert clients.most == limit - HELD_BACK
    assert [line["event"] for line in logged] == ["descriptors_low"] * said


def test_this_process_has_what_the_system_allows() -> None:
    assert descriptors.raise_limit() == min(descriptors.WANTED, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
