"""What ``CLOCK_WITNESSES`` may be."""

import pytest

from clock.config import BadSetting, Settings
from clock.tlog.settings import witnesses_of

A = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
LOG = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_a_witness_is_a_key_and_a_url() -> None:
    assert witnesses_of(Settings()) == ()
    [one] = witnesses_of(Settings(witnesses=f" {A}\n https://remora.n621.de/w/ "))
    assert (str(one.key), one.url) == (A, "https://remora.n621.de/w")


@pytest.mark.parametrize(
    ("witnesses", "why"),
    [
        (A, "a public key and a URL"),
        (f"{A} {A}", "a public key and a URL"),
        (f"{A} ftp://a.example", "a public key and a URL"),
        (f"{A} https://user@a.example", "without a password"),
        (f"{A} https://a.example?x=1", "without a query"),
        (f"https://a.example {A}", "a public key and a URL"),
        (f"{LOG} https://a.example", "the first of them 4"),
        (f"{A.replace('da77', 'da78')} https://a.example", "not the one that its id says"),
        (f"{A} https://a.example {A} https://b.example", "twice"),
    ],
)
def test_what_is_none_is_refused(witnesses: str, why: str) -> None:
    with pytest.raises(BadSetting, match=why) as refused:
        witnesses_of(Settings(witnesses=witnesses))
    assert "CLOCK_WITNESSES" in str(refused.value) and "user@" not in str(refused.value)
