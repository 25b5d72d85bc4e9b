"""URLs of Redis that name several hosts: Sentinels, which know the primary, or nodes of a cluster."""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode

PORT, SENTINEL_PORT = 6_379, 26_379
"""Where the URL gives none."""

HEAD = r"(?P<scheme>rediss?)\+%s://(?:(?P<login>[^/?#@]*)@)?(?P<hosts>[^/?#@]+)"
TAIL = r"(?:/(?P<db>\d*))?(?:\?(?P<query>[^#]*))?"
SENTINELS = re.compile(HEAD % "sentinel" + r"/(?P<name>[^/?#]+)" + TAIL)
NODES = re.compile(HEAD % "cluster" + TAIL)
HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")


Address = tuple[str, int]
"""Host and port."""


class Sentinels(NamedTuple):
    hosts: list[Address]
    name: str
    """What the Sentinels call the primary and its replicas."""
    login: dict[str, str]
    """``username`` and ``password`` of the Sentinels themselves, where they ask for them."""
    server_url: str
    """Of the server that they name; its host is a placeholder."""


class Nodes(NamedTuple):
    hosts: list[Address]
    """Of some nodes of a cluster; one that answers knows all others."""
    login: str
    """``USER:PASSWORD@``, as in the URL, or empty."""
    scheme: str
    rest: str
    """The number of the database and arguments, as in the URL of a server."""

    def server_url(self, address: Address) -> str:
        host, port = address
        return f"{self.scheme}://{self.login}{f'[{host}]' if ':' in host else host}:{port}/{self.rest}"


def cluster(url: str) -> Nodes | None:
    """The parts of ``redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT/?…``; ``rediss`` means TLS, and all arguments
    are those of a server's URL. ``None`` for a URL with another scheme. Raises ``ValueError``."""
    if "+cluster:" not in url.partition("//")[0]:
        return None
    form = NODES.fullmatch(url)
    if form is None:
        raise ValueError("the form is redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT")
    login = f"{form['login']}@" if form["login"] else ""
    rest = (form["db"] or "0") + (f"?{form['query']}" if form["query"] else "")
    return Nodes([_host(text, PORT) for text in form["hosts"].split(",")], login, form["scheme"], rest)


def sentinels(url: str) -> Sentinels | None:
    """The parts of ``redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME/DB?…``; ``rediss`` means TLS with the
    Sentinels and with the server. ``sentinel_username`` and ``sentinel_password`` are for the Sentinels, all other
    arguments for the server. ``None`` for a URL with another scheme. Raises ``ValueError``."""
    if "+sentinel:" not in url.partition("//")[0]:
        return None
    form = SENTINELS.fullmatch(url)
    if form is None:
        raise ValueError("the form is redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME")
    given = dict(parse_qsl(form["query"] or "", keep_blank_values=True))
    login = {name: given.pop(f"sentinel_{name}") for name in ("username", "password") if f"sentinel_{name}" in given}
    server = f"{form['scheme']}://{form['login'] or ''}@primary.invalid/{form['db'] or '0'}?{urlencode(given)}"
    return Sentinels(
        [_host(text, SENTINEL_PORT) for text in form["hosts"].split(",")], unquote(form["name"]), login, server
    )


def _host(text: str, usual_port: int) -> Address:
    host = HOST.fullmatch(text)
    if host is None or not 0 < int(host["port"] or usual_port) < 65_536:
        raise ValueError(f"{text!r} is no address")
    return host["v6"] or host["host"], int(host["port"] or usual_port)
