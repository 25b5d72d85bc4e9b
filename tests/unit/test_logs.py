"""A log line that cannot be written costs the line: nothing raises, nothing waits, and what was lost is counted."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clock import logs
from clock.logs import Output, take_lost

LINE = "x" * 200 + "\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    take_lost()
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            assert descriptor == reader, "the test closes no other"


def test_a_reader_that_is_gone_costs_the_lines(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    output = Output(pipe[1])
    for _ in range(3):
        assert output.write(LINE) == len(LINE)
    assert take_lost() == 3
    assert take_lost() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_full_disk_costs_the_lines() -> None:
    take_lost()
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        Output(descriptor).write(LINE)
    finally:
        os.close(descriptor)
    assert take_lost() == 1


def test_lines_a_second_are_bounded(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: clock[0])  # type: ignore[attr-defined]
    output = Output(pipe[1])
    for _ in range(logs.MOST_LINES + 50):
        output.write("{}\n")
    assert take_lost() == 50
    clock[0] += 1
    output.write('{"event": "later"}\n')
    lines = os.read(pipe[0], 2**20).splitlines()
    assert len(lines) == logs.MOST_LINES + 2
    assert json.loads(lines[-2]) == {"event": "log_lines_lost", "level": "warning", "lines": 50}


def test_a_reader_that_sleeps_holds_nobody_up_and_hears_later_what_it_missed(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST_LINES", 10_000)
    output = Output(pipe[1])
    began = time.monotonic()
    for _ in range(5_000):
        output.write(LINE)
    assert time.monotonic() - began < 20, "each line would wait"
    lost = take_lost()
    assert 4_000 < lost < 5_000, "a pipe holds 64 KiB"
    got = os.read(pipe[0], 2**20)
    output.write('{"event": "later"}\n')
    notice, later = os.read(pipe[0], 2**20).splitlines()[-2:]
    assert json.loads(notice) == {"event": "log_lines_lost", "level": "warning", "lines": lost}
    assert json.loads(later) == {"event": "later"}
    assert got.count(b"\n") == 5_000 - lost, "no line is torn"


def test_a_long_line_reaches_a_slow_reader_whole(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "WAIT_S", 10.0)  # other tests may have the processor
    text, got = "ü" * 100_000 + "\n", bytearray()

    def read() -> None:
        while not got.endswith(b"\n"):
            got.extend(os.read(pipe[0], 1_000))

    reading = threading.Thread(target=read)
    reading.start()
    Output(pipe[1]).write(text)
    reading.join(20)
    assert got.decode() == text
    assert take_lost() == 0


def test_a_line_that_was_torn_does_not_spoil_the_next(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1])
    output.write("y" * 2**20 + "\n")
    torn = os.read(pipe[0], 2**20)
    assert 0 < len(torn) < 2**20
    output.write('{"event": "later"}\n')
    rest, notice, later = os.read(pipe[0], 2**20).splitlines()
    assert (rest, json.loads(notice)["lines"], json.loads(later)) == (b"", 1, {"event": "later"})


def test_half_an_emoji_can_be_logged(pipe: tuple[int, int]) -> None:
    Output(pipe[1]).write("ab\ud83d\n")
    assert os.read(pipe[0], 100) == b"ab\\ud83d\n"


def test_closed_standard_descriptors_are_opened_before_a_file_gets_their_number(tmp_path: Path) -> None:
    program = (
        "import os, sys; from clock import logs; os.close(1); os.close(2); logs.hold_standard_descriptors();"
        "file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY); logs.Output(1).write('a line\\n'); sys.exit(file < 3)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "data")], check=False).returncode == 0
    assert (tmp_path / "data").read_bytes() == b""
    assert logs.STDOUT == 1
