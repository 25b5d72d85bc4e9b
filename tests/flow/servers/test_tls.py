"""TLS with a certificate authority of one's own, as docs/servers.md sets it up; another authority's is refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from clock.books.migrations import migrate
from clock.config import PREFIX, Settings, load
from clock.runtime import embedded
from clock.runtime.ports import free_port
from clock.runtime.start_check import start_check
from clock.service import Service
from tests import servers
from tests.cluster import until
from tests.flow.servers.stage import refusal
from tests.raw import plain

pytestmark = [pytest.mark.long, servers.needs_redis, servers.needs_postgres]


SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A certificate authority whose certificate is in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = name_of("an authority")
        self.path.write_bytes(pem(self._certificate(self._name, self._key, authority=True)))

    def sign(self, host: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        return self._certificate(name_of(host), key, host=host)

    def _certificate(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *, host: str = "", authority: bool = False
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if authority:
            builder = builder.add_extension(SIGNS, critical=True)
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class Encrypted(NamedTuple):
    """Addresses of servers whose certificates are for ``localhost``, of a Sentinel and a cluster's node among them, and
    the files of two authorities."""

    redis: str
    postgres: str
    sentinel: str
    cluster: str
    own: Path
    foreign: Path


@pytest.fixture(scope="module")
async def encrypted() -> AsyncIterator[Encrypted]:
    assert servers.REDIS is not None
    with embedded.scratch() as place:
        own, foreign = Authority(place / "own.pem"), Authority(place / "foreign.pem")
        key = ec.generate_private_key(ec.SECP256R1())
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (place / "server.pem").write_bytes(pem(own.sign("localhost", key)))
        (place / "redis.key").write_bytes(text)
        (place / "postgres.key").write_bytes(text)
        files = {"cert_file": place / "server.pem", "key_file": place / "postgres.key"}
        postgres = servers.SystemPostgres(
            place, settings=("ssl=on", *(f"ssl_{name}={path}" for name, path in files.items()))
        )
        postgres.give(place / "postgres.key")
        port = free_port()
        tls = (f"cert-file {place}/server.pem", f"key-file {place}/redis.key", f"ca-cert-file {own.path}")
        lines = tuple(f"tls-{line}" for line in (f"port {port}", "auth-clients no", *tls))
        redis = servers.Configured(place, command=servers.REDIS, lines=lines)
        async with (
            embedded.started(redis),
            embedded.started(postgres),
            guarding(place, tls, redis, port) as guard,
            clustered(tls) as node,
        ):
            await migrate(postgres.url)
            yield Encrypted(
                f"rediss://:{redis.password}@localhost:{port}/0",
                f"postgresql://clock:{postgres.password}@localhost:{postgres.port}/clock",
                f"rediss+sentinel://:{redis.password}@{guard}",
                f"rediss+cluster://{node}?",
                own.path,
                foreign.path,
            )


@asynccontextmanager
async def guarding(place: Path, tls: tuple[str, ...], redis: embedded.Valkey, tls_port: int) -> AsyncIterator[str]:
    """A Sentinel that knows the server by its name and its port of TLS; what a URL says of it."""
    assert servers.REDIS is not None
    port = free_port()
    lines = [f"tls-{line}" for line in (f"port {port}", "auth-clients no", "replication yes", *tls)]
    lines += ["appendonly no", "sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"]
    lines += [f"sentinel monitor clock localhost {tls_port} 1", f"sentinel auth-pass clock {redis.password}"]
    with embedded.scratch() as own_place:
        guard = servers.Configured(own_place, command=servers.REDIS, lines=tuple(lines), arguments=("--sentinel",))
        async with embedded.started(guard):
            yield f"localhost:{port}/clock?sentinel_password={guard.password}"


@asynccontextmanager
async def clustered(tls: tuple[str, ...]) -> AsyncIterator[str]:
    """A cluster of one node, which tells its name and its port of TLS; what a URL says of it."""
    assert servers.REDIS is not None
    port = free_port()
    lines = [f"tls-{line}" for line in (f"port {port}", "auth-clients no", "cluster yes", *tls)]
    lines += ["cluster-enabled yes", f"cluster-port {free_port()}", "cluster-announce-hostname localhost"]
    lines += ["cluster-preferred-endpoint-type hostname"]
    with embedded.scratch() as place:
        node = servers.Configured(place, command=servers.REDIS, lines=tuple(lines))
        async with embedded.started(node):
            async with plain(node.url) as client:
                await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)

                async def is_up() -> bool:
                    return b"cluster_state:ok" in await client.execute_command("CLUSTER", "INFO")

                await until(is_up, "the cluster is up")
            yield f":{node.password}@localhost:{port}"


def with_authority(settings: Settings, encrypted: Encrypted, redis: Path, postgres: Path) -> Settings:
    """As the settings are read from the environment."""
    urls = load(
        {
            f"{PREFIX}REDIS_URL": f"{encrypted.redis}?ssl_ca_certs={redis}&ssl_check_hostname=true",
            f"{PREFIX}DATABASE_URL": f"{encrypted.postgres}?sslmode=verify-full&sslrootcert={postgres}",
        }
    )
    return replace(settings, redis_url=urls.redis_url, database_url=urls.database_url)


async def test_servers_with_a_certificate_of_the_own_authority_are_used(
    settings: Settings, encrypted: Encrypted
) -> None:
    settings = with_authority(settings, encrypted, encrypted.own, encrypted.own)
    await start_check(settings)
    service = Service(settings)
    await service.start()
    try:
        assert service.time.known
        await service.opener.open_around(service.asking.calendar.day_at(service.time.now_ms()))
    finally:
        await service.stop()
    async with await psycopg.AsyncConnection.connect(settings.database_url) as connection:
        cursor = await connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert await cursor.fetchone() == (True,)


async def test_a_foreign_authority_is_refused(settings: Settings, encrypted: Encrypted) -> None:
    own, foreign = encrypted.own, encrypted.foreign
    sentence = await refusal(with_authority(settings, encrypted, foreign, own))
    assert sentence.startswith("TLS with the server of CLOCK_REDIS_URL fails") and "verify failed" in sentence
    sentence = await refusal(with_authority(settings, encrypted, own, foreign))
    assert sentence.startswith("Postgres refuses CLOCK_DATABASE_URL") and "certificate verify failed" in sentence


async def test_a_certificate_for_another_host_is_refused(settings: Settings, encrypted: Encrypted) -> None:
    right = with_authority(settings, encrypted, encrypted.own, encrypted.own)
    for name in ("redis_url", "database_url"):
        url = getattr(right, name).replace("@localhost:", "@127.0.0.1:")
        sentence = await refusal(replace(right, **{name: url}))
        assert f"CLOCK_{name.upper()}" in sentence and "127.0.0.1" in sentence, sentence


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
async def test_who_names_a_server_and_the_server_are_reached_by_tls(
    settings: Settings, encrypted: Encrypted, kind: str
) -> None:
    settings = with_authority(settings, encrypted, encrypted.own, encrypted.own)
    arguments = f"&ssl_check_hostname=true&ssl_ca_certs={encrypted.own}"
    settings = replace(settings, redis_url=getattr(encrypted, kind) + arguments, queue_url=settings.redis_url)
    await start_check(settings)
    service = Service(settings)
    await service.start()
    assert service.time.known
    await service.stop()
    foreign = settings.redis_url.replace(str(encrypted.own), str(encrypted.foreign))
    sentence = await refusal(replace(settings, redis_url=foreign))
    assert sentence.startswith("TLS with the server of CLOCK_REDIS_URL fails") and "verify failed" in sentence
