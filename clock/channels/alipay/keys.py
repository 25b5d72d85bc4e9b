"""Keys and certificates of the channel, read once at the start; a wrong one is refused there."""

import hashlib
import re
from base64 import b64decode
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from clock.channels import rsa
from clock.config import BadSetting, Settings

NUMBER = re.compile(r"2088\d{12}", re.A)
"""Alipay's number of a merchant or a user."""

RSA_SIGNATURES = "1.2.840.113549.1.1."
"""Object identifiers of signatures by RSA (RFC 8017, A.2). Of the root certificates only these count."""

RSA_IN_DER = bytes.fromhex("2a864886f70d0101")
"""The same, as a certificate has it."""

PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s[^-]*-----END CERTIFICATE-----")

CERTIFICATES = ("alipay_app_cert", "alipay_root_cert", "alipay_certs")


class Keys:
    """Raises :class:`BadSetting` for settings that do not fit together."""

    def __init__(self, settings: Settings) -> None:
        _check_identity(settings)
        self._private = rsa.private_key(settings.alipay_private_key, "CLOCK_ALIPAY_PRIVATE_KEY")
        given = [name for name in CERTIFICATES if getattr(settings, name)]
        self.setting = "CLOCK_ALIPAY_CERTS" if given else "CLOCK_ALIPAY_PUBLIC_KEY"
        """Where the keys are that verify."""
        self.certified: dict[str, str] = {}
        """Parameters that each request has in certificate mode."""
        self._public: dict[str, RSAPublicKey] = {}
        """By the certificate's serial; the only one of key mode has none."""
        if settings.alipay_public_key:
            if given:
                raise BadSetting(
                    f"CLOCK_ALIPAY_PUBLIC_KEY (key mode) and {_variable(given[0])} (certificate mode) are both set: "
                    "remove one"
                )
            self._public[""] = rsa.public_key(settings.alipay_public_key, "CLOCK_ALIPAY_PUBLIC_KEY")
        elif not given:
            raise BadSetting(
                "CLOCK_ALIPAY_PUBLIC_KEY is required (key mode), or CLOCK_ALIPAY_APP_CERT, CLOCK_ALIPAY_ROOT_CERT and "
                "CLOCK_ALIPAY_CERTS (certificate mode)"
            )
        else:
            self._read_certificates(settings)
        if any(rsa.belongs(key, self._private) for key in self._public.values()):
            raise BadSetting(f"{self.setting} is our own: Alipay's is wanted, which its console shows beside it")

    def _read_certificates(self, settings: Settings) -> None:
        for name in CERTIFICATES:
            if not getattr(settings, name):
                raise BadSetting(f"{_variable(name)} is required in certificate mode")
        ours = _certificates(settings.alipay_app_cert, "CLOCK_ALIPAY_APP_CERT")[0]
        if not rsa.belongs(_key(ours, "CLOCK_ALIPAY_APP_CERT"), self._private):
            raise BadSetting("CLOCK_ALIPAY_APP_CERT does not belong to CLOCK_ALIPAY_PRIVATE_KEY")
        roots = _certificates(settings.alipay_root_cert, "CLOCK_ALIPAY_ROOT_CERT", foreign=True)
        serials = [serial(one) for one in roots if one.signature_algorithm_oid.dotted_string.startswith(RSA_SIGNATURES)]
        if not serials:
            raise BadSetting("CLOCK_ALIPAY_ROOT_CERT has no certificate that RSA has signed")
        self.certified = {"app_cert_sn": serial(ours), "alipay_root_cert_sn": "_".join(serials)}
        for one in _certificates(settings.alipay_certs, "CLOCK_ALIPAY_CERTS"):
            if not _is_authority(one):  # a file of Alipay's has the issuer's too, which signs no messages
                self._public[serial(one)] = _key(one, "CLOCK_ALIPAY_CERTS")
        if not self._public:
            raise BadSetting("CLOCK_ALIPAY_CERTS has only certificates of authorities")

    def sign(self, message: bytes) -> str:
        return rsa.sign(self._private, message)

    def verifies(self, signature: str, message: bytes, serial: str = "") -> bool:
        """``serial``: of the certificate that signs, where the message says so. An unknown one verifies nothing: none
        is fetched meanwhile."""
        if not signature:
            return False
        keys = [self._public[serial]] if serial in self._public else [] if serial else self._public.values()
        return any(rsa.verifies(key, signature, message) for key in keys)


def serial(certificate: x509.Certificate) -> str:
    """Alipay's name of a certificate: MD5 of the issuer (RFC 4514, without blanks) and the decimal serial number."""
    text = f"{certificate.issuer.rfc4514_string()}{certificate.serial_number}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _check_identity(settings: Settings) -> None:
    if not NUMBER.fullmatch(settings.alipay_seller_id):
        raise BadSetting("CLOCK_ALIPAY_SELLER_ID is not a merchant's number: 2088 and 12 digits")
    url = urlsplit(settings.public_url)
    schemes = ("https", "http") if settings.env == "dev" else ("https",)
    if url.scheme not in schemes or not url.netloc or url.path.strip("/") or url.query or url.fragment:
        raise BadSetting("CLOCK_PUBLIC_URL must be https://<host> without a path: Alipay sends notifications there")


def _certificates(pem: str, setting: str, *, foreign: bool = False) -> list[x509.Certificate]:
    """``foreign``: certificates of other kinds than RSA may be among them, such as SM2's, which the library cannot
    read."""
    found = []
    for text in PEM.findall(pem):
        try:
            found.append(x509.load_pem_x509_certificate(text.encode()))
        except ValueError as error:
            if not foreign or RSA_IN_DER in _der(text):
                raise BadSetting(f"{setting} has a certificate that cannot be read") from error
    if not found:
        raise BadSetting(f"{setting} is not a certificate in PEM")
    return found


def _der(pem: str) -> bytes:
    """Where it is not even Base64, it may have been RSA's."""
    try:
        return b64decode("".join(pem.splitlines()[1:-1]), validate=True)
    except ValueError:
        return RSA_IN_DER


def _key(certificate: x509.Certificate, setting: str) -> RSAPublicKey:
    return rsa.public_key(certificate.public_bytes(Encoding.PEM).decode(), setting)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, ValueError):
        return False


def _variable(name: str) -> str:
    return f"CLOCK_{name.upper()}"
