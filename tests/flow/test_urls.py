"""Redis' URLs: API and worker read each as redis-py does."""

import asyncio
import shutil
import subprocess
import warnings
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.exceptions import RedisError

from clock.config import Settings
from clock.game import keys
from clock.runtime import directory, embedded
from clock.runtime.ports import free_port
from tests.conftest import Api
from tests.flow.stage import working
from tests.raw import plain

pytestmark = pytest.mark.long

PASSWORD = "p@ss/w:rd?%20+&="


class Odd(embedded.Valkey, frozen=True):
    """Its password has every letter that means something in a URL; it listens on a socket, too."""

    @property
    def quoted(self) -> str:
        return quote(PASSWORD, safe="")

    @property
    def url(self) -> str:
        return f"redis://:{self.quoted}@127.0.0.1:{self.port}/"

    @property
    def socket(self) -> Path:
        return self.data_dir / "socket"

    def prepare(self, *, same_port: bool = False) -> None:
        directory.write_private(self._file("password"), PASSWORD)
        super().prepare(same_port=same_port)
        with (self.data_dir / "valkey.conf").open("a") as configuration:
            configuration.write(f"unixsocket {self.socket}\n")


@pytest.fixture(scope="module")
async def odd() -> AsyncIterator[Odd]:
    with embedded.scratch() as place:
        server = Odd(place)
        async with embedded.started(server):
            yield server


def certificate(place: Path) -> None:
    """A server's key and certificate for 127.0.0.1, signed by itself."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (place / "key.pem").write_bytes(key.private_bytes(encoding, private, serialization.NoEncryption()))
    (place / "certificate.pem").write_bytes(signed.public_bytes(encoding))


@pytest.fixture
async def secret(tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a Redis that speaks TLS only: the system's, because Valkey's wheel has no TLS."""
    program = shutil.which("redis-server")
    if program is None:
        warnings.warn("redis-server is not installed: nothing was played over TLS", stacklevel=2)
        pytest.skip("redis-server is not installed")
    certificate(tmp_path)
    port = free_port()
    files = ("--tls-cert-file", "certificate.pem", "--tls-key-file", "key.pem", "--tls-auth-clients", "no")
    process = subprocess.Popen(
        [program, "--bind", "127.0.0.1", "--port", "0", "--tls-port", str(port), *files, "--requirepass", PASSWORD],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    url = f"rediss://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/?ssl_ca_certs={tmp_path / 'certificate.pem'}"
    try:
        await _answers(url)
        yield url
    finally:
        process.kill()
        process.wait()


async def _answers(url: str) -> None:
    async with asyncio.timeout(10), plain(url) as client:
        while True:
            try:
                await client.ping()
                return
            except (RedisError, OSError):
                await asyncio.sleep(0.02)


@pytest.fixture
def url(request: pytest.FixtureRequest, odd: Odd) -> str:
    way: str = request.param
    if way == "tls":
        return str(request.getfixturevalue("secret"))
    return {
        "password and slash": odd.url,
        "database": f"{odd.url}3",
        "socket": f"unix://:{odd.quoted}@{odd.socket}?db=4",
    }[way]


@pytest.fixture
def redis() -> None:
    """The settings' Redis is the one of the URL."""


@pytest.fixture
def settings(url: str, settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, redis_url=url)


@pytest.mark.parametrize("url", ["password and slash", "database", "socket", "tls"], indirect=True)
async def test_api_and_worker_read_the_url_alike(api: Api, url: str) -> None:
    await api.send("PUT", "/dev/time", {"now": "2026-11-22T20:00:00+08:00"})
    async with working(api.settings), asyncio.timeout(20), plain(url) as client:
        await api.member(1)
        while not (await api.send("GET", "/readyz"))[1]["worker"]:
            await asyncio.sleep(0.05)
        while not await books_have(api, 1):
            await asyncio.sleep(0.05)
        assert await client.exists(keys.HEARTBEAT, "clock:arq:health") == 2


async def books_have(api: Api, uid: int) -> bool:
    async with api.service.store.transaction() as connection:
        found: Any = await connection.execute("SELECT FROM members WHERE uid = %s", [uid])
        return await found.fetchone() is not None
