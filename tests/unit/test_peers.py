"""The compiled peers of the benchmark: what is not installed is named, and their answers are the service's."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from bench.peers import servers as peers
from bench.peers import start_peers
from bench.scene import Scene
from clock.domain.outcomes import OUTCOMES, Answer, envelope


def install(monkeypatch: pytest.MonkeyPatch, *programs: str, files: tuple[Path, ...] = ()) -> None:
    """Make it look as if these were installed, and nothing else."""
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name in programs else None)
    monkeypatch.setattr(Path, "exists", lambda path: path in files)


@pytest.mark.parametrize("tool", peers.NEEDS)
def test_what_a_peer_lacks_is_named_with_the_packages_that_have_it(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packages, programs, files = peers.NEEDS[tool]
    install(monkeypatch, *programs, files=files)
    assert peers.missing(tool) == ""
    install(monkeypatch, *programs, files=files[:-1])
    assert peers.missing(tool) == f"no {files[-1]} (Debian: apt install {packages})"
    install(monkeypatch)
    assert all(str(name) in peers.missing(tool) for name in (*programs, *files))


def test_a_peer_that_is_not_installed_is_left_out_and_the_notes_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch)
    ports = {"service": 1, "bare": 2}
    notes = asyncio.run(start_peers(cast(Scene, None), tmp_path, ports))
    assert notes == {f"left out: {tool}": peers.missing(tool) for tool in ("Go", "nginx")}
    assert ports == {"service": 1, "bare": 2}


def test_a_peer_answers_the_bytes_of_the_service() -> None:
    told = peers.answers()
    assert {"checked_in", "already_checked_in", "too_early", "busy", "unavailable"} <= told.keys() <= OUTCOMES.keys()
    for word, said in told.items():
        assert said["http"] == OUTCOMES[word].http
        data: dict[str, Any] = {"money": 12_345_677} if "after" in said else {}
        assert "after" in said or word not in ("checked_in", "already_checked_in")
        written = said["before"] + ("12345677" + said["after"] if data else "")
        assert written.encode() == envelope(Answer(word, data), "check_in", "zh")


def test_settings_become_lua() -> None:
    value = {"keys": ["a:{0}", 'quo"te'], "pool": {"size": 32}}
    assert peers.lua(value) == r'{["keys"] = {"a:{0}", "quo\"te"}, ["pool"] = {["size"] = 32}}'
