"""What a witness answers counts if its key has signed it; whatever else it does is said, and breaks nothing."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clock.fair.checkpoints import Cosigner
from clock.runtime.ports import free_port
from clock.tlog import asking
from clock.tlog.asking import KnowsOther, NotSigned, add_checkpoint
from clock.tlog.settings import Witness

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = Cosigner("w", PRIVATE.public_key().public_bytes_raw())
TEXT = "log\n3\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
NOTE = f"{TEXT}\n— log c29tZXRoaW5n\n"
SIGNED = KEY.id + (7).to_bytes(8, "big") + PRIVATE.sign(f"cosignature/v1\ntime 7\n{TEXT}".encode())
LINE = f"— w {base64.b64encode(SIGNED).decode()}\n"


def http(status: int, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body.encode())}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@asynccontextmanager
async def saying(answer: bytes, heard: list[bytes]) -> AsyncIterator[Witness]:
    """A witness that says this to everybody; without an answer it is silent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r")[0])
            heard.append(head.split(b"\r")[0] + b"\n" + await reader.readexactly(length))
            writer.write(answer)
            await writer.drain()
            if not answer:
                await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Witness(KEY, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/prefix")


async def ask(witness: Witness, seconds: float = 5, old: int = 2) -> object:
    try:
        async with asking.session() as session:
            session._timeout = aiohttp.ClientTimeout(total=seconds)
            return await add_checkpoint(session, witness, old, [b"a" * 32, b"b" * 32], TEXT, NOTE)
    except KnowsOther as other:
        return other.size
    except NotSigned as error:
        return ("!" if error.contradicts else "") + str(error)


async def test_a_witness_is_asked_as_the_protocol_says() -> None:
    heard: list[bytes] = []
    async with saying(http(200, f"— other c29tZXRoaW5n\n{LINE}"), heard) as witness:
        assert await ask(witness) == (LINE, 7)
    assert heard[0].decode() == (
        "POST /prefix/add-checkpoint HTTP/1.1\n"
        "old 2\nYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\nYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=\n\n" + NOTE
    )


ANSWERS: dict[str, tuple[bytes, object]] = {
    "another size": (http(409, "5\n", "Content-Type: text/x.tlog.size"), 5),
    "no size yet": (http(409, "0\n"), 0),
    "a size without an end": (http(409, "5"), "status 409 without a size"),
    "a size that is none": (http(409, "05\n"), "status 409 without a size"),
    "a size that is too large": (http(409, "9" * 19 + "\n"), "status 409 without a size"),
    "another log": (http(422, "no"), "!status 422: it has seen another log"),
    "an unknown log": (http(404, ""), "status 404"),
    "an unknown key": (http(403, ""), "status 403"),
    "trouble": (http(500, LINE), "status 500"),
    "a redirect": (http(307, LINE, "Location: http://127.0.0.1:1/"), "status 307"),
    "nothing signed": (http(200, ""), "no signature: a note is a text, an empty line, and lines with signatures"),
    "another's signature": (http(200, "— other c29tZXRoaW5n\n"), "no signature: w has not signed"),
    "a lie": (
        http(200, f"— w {base64.b64encode(KEY.id + bytes(72)).decode()}\n"),
        "no signature: the cosignature of w is not its",
    ),
    "too much": (http(200, LINE + "x" * 20_000), "too large"),
    "without an end": (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, "too large"),
    "something packed": (http(200, LINE, "Content-Encoding: gzip"), (LINE, 7)),
    "half a character": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xe2", "no signature: 'utf-8' codec can't…"),
    "another protocol": (b"SSH-2.0-x\r\n\r\n", "ClientResponseError"),
    "heads without an end": (b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 50_000, "ClientResponseError"),
    "less than it says": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx", "ClientPayloadError"),
    "silence": (b"", "TimeoutError"),
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_each_answer_is_what_it_is(answer: str) -> None:
    raw, expected = ANSWERS[answer]
    heard: list[bytes] = []
    async with saying(raw, heard) as witness:
        found = await ask(witness, 0.3 if answer == "silence" else 5)
    if isinstance(expected, str) and expected.endswith("…"):
        assert str(found).startswith(expected[:-1])
    else:
        assert found == expected
    assert len(heard) == 1, "a redirect is not followed"


@pytest.mark.parametrize("body", ["3\n", "no", ""])
async def test_another_log_of_the_same_size_is_a_contradiction(body: str) -> None:
    """The protocol has no status of its own for it."""
    async with saying(http(409, body), []) as witness:
        assert await ask(witness, old=3) == "!status 409: it has seen another log of this size"
    async with saying(http(409, "4\n"), []) as witness:
        assert await ask(witness, old=3) == 4


async def test_nobody_there_is_said() -> None:
    nobody = Witness(KEY, f"http://127.0.0.1:{free_port('127.0.0.1')}")
    assert await ask(nobody) == "ClientConnectorError"
