"""A witness for logs of statements: it signs that a log has only grown, and never signs two stories.

    python witness.py --name witness.example.org/w1 --key w1.key --state w1.state --log VKEY --port 8400

Python 3.11 or newer on Linux or macOS, and the package cryptography, nothing else. It speaks
https://c2sp.org/tlog-witness with keys of https://c2sp.org/tlog-cosignature (Ed25519), so it can watch any log that
does.

Whoever runs it:
- Give the operator of the log the public key, which is printed at the start, and the URL. ``--log`` is the log's public
  key, several if it has several; take it from a source that you trust.
- The first start makes the key and the state. From then on both must be there: a witness that has forgotten what it
  signed would sign another story. Back up the key; never put back an older copy of the state: if the state is lost,
  begin with a new name and a new key.
- Its word is worth something if you are not the operator of the log, and if the machine is yours.
- It listens to this machine alone. Put a web server with TLS in front, or say ``--host 0.0.0.0``. Anybody may ask it.
"""

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MOST_BODY, MOST_PROOF, MOST_CONNECTIONS, IDLE_SECONDS, CONNECTION_SECONDS = 65_536, 63, 64, 30, 60
NUMBER = "0|[1-9][0-9]{0,17}"


class Refused(Exception):
    def __init__(self, status: int, body: str) -> None:
        """A status of the protocol, and the body that belongs to it."""
        self.status, self.body = status, body + "\n"
        self.kind = "text/x.tlog.size" if status == 409 else "text/plain; charset=utf-8"


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def keep(path: Path, text: str) -> None:
    """On disk, for its owner alone. The file is there as it was or as it is now, whenever the power fails."""
    beside = path.with_name(path.name + ".new")
    with open(beside, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def decoded(text: str) -> bytes:
    """Of base64 in its one spelling."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        content = b""
    if not content or base64.b64encode(content).decode() != text:
        raise Refused(400, "not base64 as it should be")
    return content


def log_key(vkey: str) -> tuple[str, bytes, bytes]:
    """Name, id and bytes of a log's public key, as ``<name>+<id>+<base64>``."""
    name, number, key = [*vkey.split("+", 2), "", ""][:3]
    try:
        content = base64.b64decode(key, validate=True)
    except ValueError:
        content = b""
    if len(content) != 33 or content[0] != 1 or sha256(name.encode(), b"\n", content)[:4].hex() != number:
        raise ValueError(f"--log {vkey} is no public key of Ed25519")
    return name, bytes.fromhex(number), content[1:]


def continues(old: int, old_root: bytes, size: int, root: bytes, proof: list[bytes]) -> bool:
    """Whether the proof shows that the tree has only grown: RFC 9162, 2.1.4.2."""
    if old == 0 or old == size:
        return not proof and (old == 0 or old_root == root)
    nodes = proof if old & (old - 1) else [old_root, *proof]
    if not nodes:
        return False
    number, last = old - 1, size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    before = after = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            before, after = sha256(b"\x01", node, before), sha256(b"\x01", node, after)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            after = sha256(b"\x01", after, node)
        number, last = number >> 1, last >> 1
    return last == 0 and before == old_root and after == root


class Witness:
    """What it has signed last of each log, on disk before anybody hears of it."""

    def __init__(self, name: str, key: Path, state: Path, logs: list[str]) -> None:
        if not re.fullmatch(r"[^\s+]{1,200}", name):
            raise ValueError("--name is a host and a path, without spaces and +")
        self._logs: dict[str, dict[tuple[str, bytes], bytes]] = {}
        for log in logs:
            origin, number, public = log_key(log)
            self._logs.setdefault(origin, {})[origin, number] = public
        self._lock = threading.Lock()
        self._path, self._held = state, state.with_name(state.name + ".lock").open("w")
        fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # two processes would tell two stories
        if key.exists() != state.exists():
            raise ValueError(f"{key if state.exists() else state} is missing: see what is said at the top of this file")
        if not key.exists():
            keep(state, "{}")
            keep(key, Ed25519PrivateKey.generate().private_bytes_raw().hex() + "\n")
        self._key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key.read_text().strip()))
        self._signed: dict[str, dict[str, Any]] = json.loads(state.read_text())  # an unreadable one ends the process
        public = b"\x04" + self._key.public_key().public_bytes_raw()
        self._name, self._id = name, sha256(name.encode(), b"\n", public)[:4]
        self.vkey = f"{name}+{self._id.hex()}+{base64.b64encode(public).decode()}"

    def add_checkpoint(self, body: str) -> str:
        """Lines with this witness' signature. Raises :class:`Refused`."""
        head, _, note = body.partition("\n\n")
        first, *lines = head.split("\n")
        if not (asked := re.fullmatch(f"old ({NUMBER})", first)) or len(lines) > MOST_PROOF:
            raise Refused(400, "a request begins with the old size and at most 63 lines of a proof")
        old, proof = int(asked[1]), [decoded(line) for line in lines]
        end = note.rfind("\n\n") + 1
        text, signatures = note[:end], note[end + 1 :]
        found = re.fullmatch(rf"([^\n]+)\n({NUMBER})\n([0-9A-Za-z+/]{{43}}=)\n([^\n]+\n)*", text)
        if not found or not signatures.endswith("\n") or any(len(node) != 32 for node in proof):
            raise Refused(400, "not a checkpoint, or not a proof")
        origin, size, root = found[1], int(found[2]), decoded(found[3])
        if origin not in self._logs:
            raise Refused(404, "this log is not known here")
        signed = self._verified(self._logs[origin], text, signatures.split("\n")[:-1])
        if old > size:
            raise Refused(400, "the old size is larger than the checkpoint")
        with self._lock:  # from the comparison until it is on disk
            last = self._signed.get(origin, {"size": 0, "root": ""})
            if last["size"] != old:
                raise Refused(409, str(last["size"]))
            if size == old and last["root"] not in ("", found[3]):
                raise Refused(409, str(size))  # the protocol has this status for another log of the same size
            falsely_empty = size == 0 and root != sha256()
            if falsely_empty or not continues(old, base64.b64decode(last["root"]), size, root, proof):
                raise Refused(422, "this log does not continue the one that was signed before")
            now = int(time.time())
            signature = self._key.sign(f"cosignature/v1\ntime {now}\n{text}".encode())
            content = base64.b64encode(self._id + now.to_bytes(8, "big") + signature)
            line = f"— {self._name} {content.decode()}\n"
            kept = {"size": size, "root": found[3], "note": f"{text}\n{signed}{line}"}
            keep(self._path, json.dumps({**self._signed, origin: kept}))
            self._signed[origin] = kept
        return line

    def latest(self, path: str) -> str:
        """The checkpoint that was signed last of the log of this path. Raises :class:`Refused`."""
        for origin, last in self._signed.copy().items():
            if path == f"/{sha256(origin.encode()).hex()}/checkpoint":
                return str(last["note"])
        raise Refused(404, "nothing of this log was signed here")

    @staticmethod
    def _verified(keys: dict[tuple[str, bytes], bytes], text: str, lines: list[str]) -> str:
        """Those lines that are signatures of known keys: one at least, and none that is wrong."""
        good = ""
        for line in lines:
            parts = re.fullmatch("— ([^ +]+) ([0-9A-Za-z+/=]+)", line)
            content = decoded(parts[2]) if parts else b""
            if parts and (public := keys.get((parts[1], content[:4]))):
                try:
                    Ed25519PublicKey.from_public_bytes(public).verify(content[4:], text.encode())
                except InvalidSignature:
                    raise Refused(403, "a signature is wrong") from None
                good += line + "\n"
        if not good:
            raise Refused(403, "not signed by a known key")
        return good


class Handler(BaseHTTPRequestHandler):
    witness: Witness
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS

    def handle(self) -> None:
        """For so long at most: who drips a request would keep its place for ever, and 64 of them all places."""
        over = threading.Timer(CONNECTION_SECONDS, self._end)
        over.daemon = True
        over.start()
        super().handle()
        over.cancel()

    def _end(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length) <= MOST_BODY and self.path == "/add-checkpoint":
            body = self.rfile.read(int(length)).decode(errors="replace")
            self._answer(lambda: self.witness.add_checkpoint(body))
        else:
            self.close_connection = True  # what follows is not read
            self._answer(lambda: self.witness.latest(""))

    def do_GET(self) -> None:
        self._answer(lambda: self.witness.latest(self.path))

    def _answer(self, work: Any) -> None:
        status, kind = 200, "text/plain; charset=utf-8"
        try:
            content = work().encode()
        except Refused as refused:
            status, content, kind = refused.status, refused.body.encode(), refused.kind
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    _room = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._room.acquire()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self._room.release()


def main() -> None:
    parser = argparse.ArgumentParser(description="A witness for logs of statements.")
    parser.add_argument("--name", required=True, help="of the witness: host and path, without spaces and +")
    for name, what in {"--key": "its private key, made at the first start", "--state": "what it has signed"}.items():
        parser.add_argument(name, required=True, type=Path, help=f"file with {what}")
    parser.add_argument("--log", required=True, action="append", help="public key of a log; may be given again")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8400)
    options = parser.parse_args()
    try:
        Handler.witness = Witness(options.name, options.key, options.state, options.log)
    except (ValueError, OSError) as error:
        sys.exit(f"witness.py: {error}")
    server = Server((options.host, options.port), Handler)
    print(f"{Handler.witness.vkey} at http://{options.host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
