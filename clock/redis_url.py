"""URLs of Redis that name no server, but the Sentinels that know which server is the primary now."""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

PORT = 26_379
"""A Sentinel's, where the URL gives none."""

FORM = re.compile(
    r"(?P<scheme>rediss?)\+sentinel://(?:(?P<login>[^/?#@]*)@)?(?P<hosts>[^/?#@]+)/(?P<name>[^/?#]+)"
    r"(?:/(?P<db>\d*))?(?:\?(?P<query>[^#]*))?"
)
HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")


class Sentinels(NamedTuple):
    hosts: list[tuple[str, int]]
    name: str
    """What the Sentinels call the primary and its replicas."""
    login: dict[str, str]
    """``username`` and ``password`` of the Sentinels themselves, where they ask for them."""
    server_url: str
    """Of the server that they name; its host is a placeholder."""


def sentinels(url: str) -> Sentinels | None:
    """The parts of ``redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DB?…``; ``rediss`` means TLS with the
    Sentinels and with the server. ``sentinel_username`` and ``sentinel_password`` are for the Sentinels, all other
    arguments for the server. ``None`` for a URL with another scheme. Raises ``ValueError``."""
    if "+sentinel:" not in url.partition("//")[0]:
        return None
    form = FORM.fullmatch(url)
    if form is None:
        raise ValueError("the form is redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME")
    given = dict(parse_qsl(form["query"] or "", keep_blank_values=True))
    login = {name: given.pop(f"sentinel_{name}") for name in ("username", "password") if f"sentinel_{name}" in given}
    server = f"{form['scheme']}://{form['login'] or ''}@primary.invalid/{form['db'] or '0'}?{urlencode(given)}"
    return Sentinels([_host(text) for text in form["hosts"].split(",")], unquote(form["name"]), login, server)


def _host(text: str) -> tuple[str, int]:
    host = HOST.fullmatch(text)
    if host is None or not 0 < int(host["port"] or PORT) < 65_536:
        raise ValueError(f"{text!r} is no address of a Sentinel")
    return host["v6"] or host["host"], int(host["port"] or PORT)
