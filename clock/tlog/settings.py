"""The witnesses that the settings name."""

from typing import NamedTuple

from clock.config import BadSetting, Settings, is_base_url
from clock.fair.checkpoints import Cosigner, cosigner_of
from clock.fair.notes import BadKey

MOST_WITNESSES = 16


class Witness(NamedTuple):
    """``url``: without a slash at the end."""

    key: Cosigner
    url: str


def witnesses_of(settings: Settings) -> tuple[Witness, ...]:
    """Raises :class:`BadSetting`."""
    words = settings.witnesses.split()
    keys, urls = words[::2], words[1::2]
    if len(keys) != len(urls) or not all(map(is_base_url, urls)):
        raise BadSetting(
            "CLOCK_WITNESSES must be a public key and a URL for each witness, all separated by spaces; a URL is "
            "http:// or https:// and a host, without a password and without a query"
        )
    try:
        found = tuple(Witness(cosigner_of(key), url.rstrip("/")) for key, url in zip(keys, urls, strict=True))
    except BadKey as error:
        raise BadSetting(f"CLOCK_WITNESSES is not usable: {error}") from None
    if len({witness.key for witness in found}) < len(found):
        raise BadSetting("CLOCK_WITNESSES names a witness twice")
    if len(found) > MOST_WITNESSES:
        raise BadSetting(f"CLOCK_WITNESSES names more than {MOST_WITNESSES} witnesses")
    return found
