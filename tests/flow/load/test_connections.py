"""Connections of ``clock load``: with TLS, and to targets that close them."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.flow.load.stage import SLOW, double, figures, load


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, signed by itself; its key is beside it, as ``….key``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "cert.pem"
    file.write_bytes(made.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.with_suffix(".key").write_bytes(pem)
    return file


@pytest.mark.parametrize("cold", [(), ("--cold",)])
async def test_tls(secret: str, certificate: Path, tmp_path: Path, cold: tuple[str, ...]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    async with double(context=context) as there:
        command = (there.url, "--uids", "1-40", "--jwt-secret-file", secret, "--curve", "instant", *SLOW, *cold)
        status, said = await load(*command)
        assert (status, "CERTIFICATE_VERIFY_FAILED" in said, there.seen) == (2, True, []), said
        given = ("--ca-file", str(certificate), "--connections", "10", "--out", str(tmp_path))
        status, said = await load(*command, *given)
    assert (status, figures(tmp_path)["codes"]) == (0, {"200 ok": 40}), said
    assert there.connections == (40 if cold else 10) + 1, "one more has looked at it"


async def test_a_target_that_closes_every_connection(secret: str, tmp_path: Path) -> None:
    async with double(lambda number: (200, {"Connection": "close"}, 0.0)) as there:
        status, said = await load(
            *(there.url, "--uids", "1-9", "--jwt-secret-file", secret, "--curve", "instant", "--connections", "3"),
            *("--out", str(tmp_path), *SLOW),
        )
    assert (status, figures(tmp_path)["codes"]) == (0, {"200 ok": 9}), said


async def test_a_target_that_dies_costs_errors_and_no_time(secret: str, tmp_path: Path) -> None:
    async with double(lambda number: (0, {}, 0.0)) as there:
        status, said = await load(
            *(there.url, "--uids", "1-9", "--jwt-secret-file", secret, "--curve", "instant", "--connections", "3"),
            *("--out", str(tmp_path), "--fail-if", "errors>1%", *SLOW),
        )
    assert (status, figures(tmp_path)["codes"]) == (1, {"0 broken": 9}), said
