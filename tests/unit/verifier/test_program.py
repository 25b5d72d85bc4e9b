"""The file by itself: under any Python that it is for, from a URL, with any kind of server at the other end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click.testing
import pytest

from clock import verifier
from clock.cli.main import cli
from tests.unit.verifier.forms import RULES, before, verifier_key, written
from tests.unit.verifier.stage import DAY, Game, bundle, two_days

FILE = Path(verifier.__file__)
Answer = tuple[int, dict[str, str], bytes]


class Quiet(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for them

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client has left, as it should."""


@contextmanager
def served(answer: Callable[[str], Answer]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def from_bundle(whole: dict[str, Any]) -> Callable[[str], Answer]:
    missing = json.dumps({"status": 0, "code": "not_found", "data": {}}).encode()

    def answer(path: str) -> Answer:
        found = whole["answers"].get(path)
        return (404, {}, missing) if found is None else (200, {}, json.dumps(found).encode())

    return answer


def alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In an empty place, without any installed library."""
    command = [sys.executable, "-I", "-S", str(FILE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd="/")


def test_the_file_runs_alone_from_a_url_and_saves_what_it_read(tmp_path: Path) -> None:
    saved = str(tmp_path / "saved.json")
    receipt = written(tmp_path / "receipt.json", two_days()[0].proved("checked_in", 0))
    with served(from_bundle(bundle(*two_days()))) as url:
        done = alone(DAY, "--from", url, "--keys", verifier_key(), "--save", saved, "--receipt", receipt)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"{DAY}: 27 sentences, 0 no, 2 not proved\n")
    keys = written(tmp_path / "keys", f"# kept on the first day\n{verifier_key()}\n")
    again = alone(DAY, "--from", saved, "--keys", keys, "--receipt", receipt, "--json")
    told = json.loads(again.stdout)
    assert (again.returncode, told["status"], told["round"]) == (0, 0, DAY)
    assert [f"{one['result']:10}  {one['check']:10}  {one['says']}" for one in told["findings"]] == [
        *done.stdout.splitlines()[:-1]
    ]


def test_the_file_runs_where_it_stands(tmp_path: Path) -> None:
    """Beside the service's own packages, of which one is called http."""
    where = written(tmp_path / "bundle.json", bundle(*two_days()))
    command = [sys.executable, str(FILE), DAY, "--from", where]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_is_the_same_program(tmp_path: Path) -> None:
    today = Game().play()
    today.listed["items"][0] += 1
    where = written(tmp_path / "bundle.json", bundle(today))
    done = click.testing.CliRunner().invoke(cli, ["verify", DAY, "--from", where, "--days", "1"])
    assert done.exit_code == 1
    assert done.stdout == alone(DAY, "--from", where, "--days", "1").stdout
    shown = click.testing.CliRunner().invoke(cli, ["verify", "--help"])
    assert shown.exit_code == 0
    assert "--receipt FILE" in shown.stdout


def test_a_round_of_several_pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(verifier, "PAGE", 2)
    today = Game().play()
    pages: dict[str, Any] = {}
    for page in (1, 2, 3):
        items = today.packets[2 * page - 2 : 2 * page]
        data = {"total": len(today.packets), "items": items}
        pages[f"/api/rounds/{DAY}/packets?page={page}&limit=2"] = {"status": 1, "code": "ok", "data": data}
    where = written(tmp_path / "bundle.json", bundle(today, **pages))
    assert verifier.main([DAY, "--from", where, "--days", "1"]) == 0
    pages[f"/api/rounds/{DAY}/packets?page=3&limit=2"]["data"]["items"][0] += 1
    where = written(tmp_path / "bundle.json", bundle(today, **pages))
    assert verifier.main([DAY, "--from", where, "--days", "1"]) == 1


OK: Answer = (200, {}, b"{}")
WRONG: dict[str, tuple[Answer, int, str]] = {
    "no JSON": ((200, {}, b"<html>"), 1, "is not JSON"),
    "not Unicode": ((200, {}, b'"\xff"'), 1, "is not JSON"),
    "too deep": ((200, {}, b"[" * 100_000), 1, "is not JSON"),
    "a long number": ((200, {}, b"9" * 5000), 1, "is not JSON"),
    "too large": ((200, {}, b" " * (verifier.MOST_BYTES + 1)), 1, "is longer than"),
    "no envelope": (OK, 1, "is not an envelope"),
    "broken off": ((200, {"Content-Length": "100"}, b"{"), 2, "is answered with 1 bytes and broken off"),
    "an error": ((500, {}, b"<html>"), 2, "is answered with 500"),
    "another 404": ((404, {}, b"<html>"), 2, "is answered with 404"),
    "another place": (
        (302, {"Location": "https://a.b/api"}, b""),
        2,
        "with 302, which is not followed: https://a.b/api",
    ),
    "broken chunks": ((404, {"Transfer-Encoding": "chunked"}, b"7\r\n{"), 2, "is not answered"),
    "what moves the cursor": ((200, {}, b'{"status":0,"code":"\\u001b[2J","data":{}}'), 2, "is answered with ?[2J"),
    "half a character": ((200, {}, b'{"status":0,"code":"\\ud800","data":{}}'), 2, "is answered with ?"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_server_that_answers_badly_is_a_finding(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer, status, says = WRONG[kind]
    with served(lambda path: answer) as url:
        assert verifier.main([DAY, "--from", url, "--days", "1"]) == status
    assert says in capsys.readouterr().out


def test_a_server_that_is_busy_is_asked_again_so_many_times(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("clock.verifier.time.sleep", waits.append)
    asked: list[str] = []
    proper = from_bundle(bundle(*two_days()))

    def busy(path: str) -> Answer:
        asked.append(path)
        return proper(path) if len(asked) > 2 else (503, {"Retry-After": "7" * len(asked)}, b"")

    with served(busy) as url:
        assert verifier.main([DAY, "--from", url]) == 0
    assert waits == [7, 10]
    with served(lambda path: (503, {"Retry-After": "99999"}, b"")) as url:
        assert verifier.main([DAY, "--from", url, "--days", "1"]) == 2
    assert waits[2:] == [1, 1] * 2


def test_a_server_that_drips_is_left(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(verifier, "MOST_SECONDS", 0.2)
    over = threading.Event()

    def drip(path: str) -> Answer:
        over.wait(20)
        return OK

    with served(drip) as url:
        assert verifier.main([DAY, "--from", url, "--days", "1"]) == 2
        over.set()
    assert "takes longer than 0.2 s" in capsys.readouterr().out


@contextmanager
def endless(piece: bytes) -> Iterator[str]:
    """A server that sends this for ever, in pieces between which no time-out of a socket runs out."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                client, _ = listening.accept()
                with client:
                    client.sendall(b"HTTP/1.1 ")
                    while not over.wait(0.02):
                        client.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    "piece",
    [b"100 Continue\r\n\r\nHTTP/1.1 ", b"0", b"200 OK\r\nTransfer-Encoding: chunked\r\nX: "],
    ids=["interim answers", "a status", "a header"],
)
def test_a_server_that_never_ends_its_answer_is_left_and_not_asked_again(
    piece: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verifier, "MOST_SECONDS", 0.2)
    with endless(piece) as url:
        assert verifier.main([DAY, "--from", url, "--days", "1"]) == 2
    said = capsys.readouterr().out
    assert "takes longer than 0.2 s" in said
    assert f"/api/rounds/{DAY}/proof is not asked for" in said


def test_what_is_wrong_is_said_even_if_it_cannot_be_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    today = Game().play()
    today.figures["pot"] += 1
    where = written(tmp_path / "bundle.json", bundle(today))
    assert verifier.main([DAY, "--from", where, "--days", "1", "--save", str(tmp_path / "no" / "folder")]) == 1
    said = capsys.readouterr()
    assert "The public pot is not that of the statements" in said.out and "nothing is saved" in said.err


def test_answers_are_saved_as_small_as_they_came(tmp_path: Path) -> None:
    """However deep they are."""
    whole = bundle(Game().play())
    whole["answers"][f"/api/rounds/{DAY}"]["data"]["more"] = json.loads("[" * 400 + "]" * 400)
    saved = tmp_path / "saved.json"
    with served(from_bundle(whole)) as url:
        assert verifier.main([DAY, "--from", url, "--days", "1", "--save", str(saved)]) == 0
    assert saved.stat().st_size < 1.1 * len(json.dumps(whole))
    assert verifier.main([DAY, "--from", str(saved), "--days", "1"]) == 0


@pytest.mark.parametrize("code", ["utf-8-sig", "utf-16"])
def test_files_are_read_as_windows_writes_them(code: str, tmp_path: Path) -> None:
    where, keys = tmp_path / "bundle.json", tmp_path / "keys"
    where.write_text(json.dumps(bundle(*two_days())), code)
    keys.write_text(f"# kept on the first day\r\n{verifier_key()}\r\n", code)
    assert verifier.main([DAY, "--from", str(where), "--keys", str(keys)]) == 0


def test_who_is_not_read_to_the_end_accuses_nobody(tmp_path: Path) -> None:
    """As before ``head``, or where the disk is full: 1 would mean that a check says no."""
    command = [sys.executable, "-I", "-S", str(FILE), DAY, "--from", written(tmp_path / "a", bundle(*two_days()))]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe, Path("/dev/full").open("w") as full:
        for nowhere in (pipe, full):
            done = subprocess.run(command, stdout=nowhere, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
            assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr


def test_who_stops_it_hears_one_sentence() -> None:
    asked, over = threading.Event(), threading.Event()

    def silent(path: str) -> Answer:
        asked.set()
        over.wait(10)
        return OK

    with served(silent) as url:
        command = [sys.executable, "-I", "-S", str(FILE), DAY, "--from", url]
        # A shell that starts the tests in the background has all that they start ignore an interrupt.
        how: dict[str, Any] = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), "text": True}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how) as process:
            assert asked.wait(10)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=10)
        over.set()
    assert (process.returncode, *said) == (2, "", "nothing is verified: it was stopped\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([DAY, "--from", "nowhere.json"], "nowhere.json cannot be read"),
        (["2026-13-01", "--from", "bundle.json"], "is not a day"),
        (["20261126", "--from", "bundle.json"], "is not a day"),
        ([DAY, "--from", "key"], "is not JSON"),
        ([DAY, "--from", "list.json"], "is not a bundle"),
        ([DAY, "--from", "bundle.json", "--keys", "a+b+c"], "is not base64"),
        ([DAY, "--from", "bundle.json", "--keys", verifier_key().replace("example", "other")], "is not a key"),
        ([DAY, "--from", "bundle.json", "--keys", "nowhere"], "nowhere cannot be read"),
        ([DAY, "--from", "bundle.json", "--save", "no/folder/here"], "No such file"),
    ],
)
def test_what_cannot_be_begun_is_said(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "bundle.json", bundle(Game().play()))
    written(tmp_path / "list.json", "[]")
    written(tmp_path / "key", verifier_key())
    assert verifier.main(arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "content", "says"),
    [
        ("--receipt", {"status": 0, "code": "not_joined", "data": {}}, "has no leaf: it is not_joined"),
        ("--receipt", Game(day=before(DAY)).play().proved("stake", 0), "closed of 2026-11-25 is not given"),
        ("--receipt", "clock/leaf", "is not JSON"),
        (
            "--receipt",
            {"status": 1, "code": "ok", "data": {"leaf": "clock/leaf/v1 stake\n"}},
            "there are 0 lines after the first, not 6",
        ),
        ("--seen", Game(day=before(DAY, 9)).play().proof["statements"]["opened"], "is not of these days"),
        ("--seen", Game(name="else.where").play().proof["statements"]["opened"], "is not of these days, or not signed"),
        ("--seen", Game().play().texts["opened"], "it is not a text, an empty line and lines of signatures"),
        ("--seen", Game(rules={**RULES, "fee_bps": 1}).play().texts["opened"] + "\n— a b\n", "is not base64"),
        ("--seen", "[]", "is not an envelope"),
    ],
)
def test_a_file_that_proves_nothing_accuses_nobody(
    option: str, content: Any, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = written(tmp_path / "bundle.json", bundle(Game().play()))
    file = written(tmp_path / "file", content)
    assert verifier.main([DAY, "--from", where, "--days", "1", option, file]) == 2
    assert says in capsys.readouterr().out


def test_a_bundle_that_was_seen_is_held_against_what_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = written(tmp_path / "bundle.json", bundle(*two_days()))
    other = written(tmp_path / "seen.json", bundle(*two_days(winners=((3, 1, 5), (8,)))))
    assert verifier.main([DAY, "--from", where, "--seen", where]) == 0
    assert verifier.main([DAY, "--from", where, "--seen", other]) == 1
    assert f"two different C of {DAY} were signed" in capsys.readouterr().out
