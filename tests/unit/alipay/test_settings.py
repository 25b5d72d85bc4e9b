"""Settings that do not fit are refused at the start, by name; certificates have the names that Alipay gives them."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys

from clock.channels import rsa
from clock.channels.alipay import Alipay
from clock.channels.alipay.keys import Keys, serial
from clock.config import BadSetting, Settings
from clock.service import channels_of
from tests.conftest import WEBHOOK_SECRET
from tests.unit.alipay.stage import (
    Double,
    at_once,
    certificate,
    certified,
    channel,
    key,
    private_pem,
    public_pem,
    reply,
    settings,
)

FILES = Path(__file__).parent / "certificates"
"""Of Alipay's test environment (fzlee/alipay, tests/certs/dc): roots signed with SM2, RSA and ECDSA."""

SERIALS = {
    "app.pem": ["75852781c31e6a29e6551915a592dcb3"],
    "alipay.pem": ["abe4af5e686f52544fcd9d5592fce1f3", "adadbaeb53c594574ce3fd455d2917e3"],
}
"""MD5 of what ``openssl x509 -issuer -nameopt RFC2253`` prints and the decimal serial number."""

ROOT = "6bc29aa3b4d406c43483ffea81e08d22"
"""Of the one that RSA has signed."""


def pem(one: rsa_keys.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return one.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def cut(text: str) -> str:
    """With a part of its Base64 missing."""
    lines = text.splitlines()
    return "\n".join([lines[0], *lines[3:]])


REFUSED: dict[str, tuple[Settings, str]] = {
    "no seller": (settings(alipay_seller_id=""), "CLOCK_ALIPAY_SELLER_ID"),
    "a seller that is none": (settings(alipay_seller_id="1088000000000001"), "CLOCK_ALIPAY_SELLER_ID"),
    "a digit less": (settings(alipay_seller_id="208800000000000"), "CLOCK_ALIPAY_SELLER_ID"),
    "other digits": (settings(alipay_seller_id="2088" + "１" * 12), "CLOCK_ALIPAY_SELLER_ID"),
    "no public URL": (settings(public_url=""), "CLOCK_PUBLIC_URL"),
    "a public URL without TLS": (settings(public_url="http://game.example.org"), "CLOCK_PUBLIC_URL"),
    "a public URL with a path": (settings(public_url="https://game.example.org/game"), "CLOCK_PUBLIC_URL"),
    "no private key": (settings(alipay_private_key=""), "CLOCK_ALIPAY_PRIVATE_KEY"),
    "half a private key": (settings(alipay_private_key=cut(private_pem("app"))), "CLOCK_ALIPAY_PRIVATE_KEY"),
    "a short private key": (
        settings(alipay_private_key=pem(rsa_keys.generate_private_key(65537, 1024))),
        "CLOCK_ALIPAY_PRIVATE_KEY",
    ),
    "another kind of key": (
        settings(alipay_private_key=pem(ec.generate_private_key(ec.SECP256R1()))),
        "CLOCK_ALIPAY_PRIVATE_KEY",
    ),
    "neither mode": (settings(alipay_public_key=""), "CLOCK_ALIPAY_PUBLIC_KEY"),
    "a public key that is none": (settings(alipay_public_key="MIIB"), "CLOCK_ALIPAY_PUBLIC_KEY"),
    "half a public key": (settings(alipay_public_key=cut(public_pem("alipay"))), "CLOCK_ALIPAY_PUBLIC_KEY"),
    "our own public key": (settings(alipay_public_key=public_pem("app")), "CLOCK_ALIPAY_PUBLIC_KEY"),
    "both modes": (certified(alipay_public_key=public_pem("alipay")), "CLOCK_ALIPAY_APP_CERT"),
    "half of both modes": (settings(alipay_certs=certificate("alipay", 8)), "CLOCK_ALIPAY_CERTS"),
    "no certificate of ours": (certified(alipay_app_cert=""), "CLOCK_ALIPAY_APP_CERT"),
    "no roots": (certified(alipay_root_cert=""), "CLOCK_ALIPAY_ROOT_CERT"),
    "no certificate of Alipay's": (certified(alipay_certs=""), "CLOCK_ALIPAY_CERTS"),
    "somebody else's certificate": (
        certified(alipay_app_cert=certificate("stranger", 3)),
        "CLOCK_ALIPAY_APP_CERT does not belong to CLOCK_ALIPAY_PRIVATE_KEY",
    ),
    "a certificate that is none": (certified(alipay_app_cert="MIIB"), "CLOCK_ALIPAY_APP_CERT"),
    "half a certificate": (certified(alipay_certs=cut(certificate("alipay", 8))), "CLOCK_ALIPAY_CERTS"),
    "half a root": (certified(alipay_root_cert=cut(certificate("authority", 1))), "CLOCK_ALIPAY_ROOT_CERT"),
    "half a root of two": (
        certified(alipay_root_cert=certificate("authority", 1) + cut(certificate("authority", 2))),
        "CLOCK_ALIPAY_ROOT_CERT",
    ),
    "our own certificate as Alipay's": (certified(alipay_certs=certificate("app", 7)), "CLOCK_ALIPAY_CERTS"),
    "only an authority": (
        certified(alipay_certs=certificate("authority", 1, authority=True)),
        "CLOCK_ALIPAY_CERTS",
    ),
}


@pytest.mark.parametrize(("given", "named"), REFUSED.values(), ids=REFUSED)
def test_settings_that_do_not_fit_are_refused_by_name(given: Settings, named: str) -> None:
    with pytest.raises(BadSetting) as caught:
        Alipay(given, at_once)
    said = str(caught.value)
    assert named in said
    assert not any(line in said for name in ("app", "alipay") for line in private_pem(name).splitlines()[1:-1])


def test_the_channel_is_there_if_there_is_an_application() -> None:
    given = settings(webhook_secret=WEBHOOK_SECRET, channel="alipay")
    assert isinstance(channels_of(given, at_once)["alipay"], Alipay)
    with pytest.raises(BadSetting, match="CLOCK_CHANNEL=alipay"):
        channels_of(Settings(webhook_secret=WEBHOOK_SECRET, channel="alipay"), at_once)


def test_development_may_do_without_tls() -> None:
    assert channel(settings(env="dev", public_url="http://127.0.0.1:8080/")).name == "alipay"
    with pytest.raises(BadSetting, match="CLOCK_PUBLIC_URL"):
        channel(settings(env="dev", public_url="ftp://127.0.0.1"))


@pytest.mark.parametrize("name", SERIALS)
def test_certificates_have_the_names_that_alipay_gives_them(name: str) -> None:
    found = x509.load_pem_x509_certificates((FILES / name).read_bytes())
    assert [serial(one) for one in found] == SERIALS[name]


def test_of_the_roots_those_count_that_rsa_has_signed() -> None:
    """Others are among Alipay's that no library of ours can read."""
    keys = Keys(certified(alipay_root_cert=(FILES / "roots.pem").read_text()))
    assert keys.certified["alipay_root_cert_sn"] == ROOT
    one = x509.load_pem_x509_certificate(certificate("authority", 1).encode())
    keys = Keys(certified(alipay_root_cert=(FILES / "roots.pem").read_text() + certificate("authority", 1)))
    assert keys.certified["alipay_root_cert_sn"] == f"{ROOT}_{serial(one)}"


def test_a_file_of_alipays_has_its_issuer_too_which_signs_nothing() -> None:
    both = certificate("alipay", 8) + certificate("authority", 1, authority=True)
    keys = Keys(certified(alipay_certs=both))
    assert keys.verifies(rsa.sign(key("alipay"), b"text"), b"text")
    assert not keys.verifies(rsa.sign(key("authority"), b"text"), b"text")


async def test_in_certificate_mode_requests_name_ours_and_replies_name_theirs(gateway: Double) -> None:
    alipay = channel(certified(alipay_url=gateway.url))
    names = {
        signer: serial(x509.load_pem_x509_certificate(certificate(signer, number).encode()))
        for signer, number in (("app", 7), ("authority", 1), ("alipay", 8), ("newer", 9))
    }
    method, fields = "alipay.fund.trans.uni.transfer", {"code": "10000", "out_biz_no": "P1", "status": "SUCCESS"}
    for signer, named, state in [
        ("alipay", names["alipay"], "done"),
        ("newer", names["newer"], "done"),
        ("newer", "", "done"),
        ("newer", names["alipay"], "unknown"),
        ("alipay", "0" * 32, "unknown"),
        ("app", names["app"], "unknown"),
    ]:
        gateway.says[method] = reply(method, fields, signer, named)
        assert (await alipay.transfer("P1", "open-1", 123)).state == state, (signer, named)
    assert {form["app_cert_sn"] for form in gateway.forms} == {names["app"]}
    assert {form["alipay_root_cert_sn"] for form in gateway.forms} == {names["authority"]}
    assert gateway.asked == [method] * 6  # nothing is fetched meanwhile
    await alipay.close()
