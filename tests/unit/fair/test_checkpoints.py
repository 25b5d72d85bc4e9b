"""Checkpoints and cosignatures: published ones of other people's logs and witnesses, and whatever is not one."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clock.fair.checkpoints import Checkpoint, Cosigner, cosigner_of, parse
from clock.fair.notes import BadKey, BadNote, Signer, parts, verifier_of, verify

GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
"""cmd/go/internal/modfetch/key.go."""
GO = (
    "go.sum database tree\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
"""Size, root and signature of the example in https://c2sp.org/tlog-checkpoint, which gives the log another name."""

ARCHE = "arche2025h1.staging.ct.transparency.dev\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n"
ARCHE_KEY = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
LINES = """\
— arche2025h1.staging.ct.transparency.dev \
zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev \
ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden \
2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 \
pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de \
2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu \
Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""
"""What a log of Certificate Transparency served with the lines of its witnesses, all of other implementations: a test
of github.com/florolf/spic has kept it."""
WITNESSES = {
    "transparency.dev/DEV:witness-little-garden": "2b6eb0ec483503544cde4e8fc1ce6d1921db21dffccc186865f808f7625443cc",
    "witness1.smartit.nu/witness1": "f4855a0f46e8a3e23bb40faf260ee57ab8a18249fa402f2ca2d28a60e1a3130e",
    "remora.n621.de": "ebcdeb78e7fdb2ef9227b2c1ef11e94600b55b4d6d9a57877e31ee89e59adc36",
    "witness.stagemole.eu": "4a921b7caef58ae670cdc11ef4184f1c058f7b9259a9107a969f69fa54aa496f",
}
"""Public keys of 32 bytes, as policies of Sigsum list them."""
TIME_S = 0x6A122120


def test_a_checkpoint_is_the_note_that_other_logs_sign() -> None:
    for note, key, size in ((GO, GO_KEY, 20_852_163), (f"{ARCHE}\n{LINES}", ARCHE_KEY, 1_432_088_532)):
        text, by = verify(note, [verifier_of(key)])
        checkpoint = parse(text)
        assert [str(one) for one in by] == [key]
        assert checkpoint.size == size and str(checkpoint) == text and len(checkpoint.root) == 32


@pytest.mark.parametrize("name", WITNESSES)
def test_a_cosignature_is_the_one_that_other_witnesses_make(name: str) -> None:
    witness = Cosigner(name, bytes.fromhex(WITNESSES[name]))
    found = witness.cosigned(ARCHE, LINES)
    assert (found.time_s, found.line in LINES) == (TIME_S, True)
    assert parts(f"{ARCHE}\n{found.line}")[1][0].id == witness.id
    for text in (ARCHE.replace("1432", "1433"), ARCHE.replace("arche", "arche2"), ARCHE + "more\n"):
        with pytest.raises(BadNote):
            witness.cosigned(text, LINES)


def test_a_key_of_a_witness_is_written_as_others_write_it() -> None:
    key = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
    assert str(cosigner_of(key)) == key
    assert cosigner_of(key) == ("remora.n621.de", bytes.fromhex(WITNESSES["remora.n621.de"]))


@pytest.mark.parametrize(
    "key",
    [GO_KEY, "", "a+b", "remora.n621.de+da77ade8+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2", "a+00000000+BA=="],
)
def test_what_is_no_key_of_a_witness_is_refused(key: str) -> None:
    with pytest.raises(BadKey):
        cosigner_of(key)


PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ONE = Cosigner("one", PRIVATE.public_key().public_bytes_raw())


def line(text: str = ARCHE, time_s: int = 1, name: str = "one", number: bytes = ONE.id, said: int | None = None) -> str:
    signature = PRIVATE.sign(f"cosignature/v1\ntime {time_s}\n{text}".encode())
    content = number + (time_s if said is None else said).to_bytes(8, "big") + signature
    return f"— {name} {base64.b64encode(content).decode()}\n"


def test_a_cosignature_counts_for_this_text_this_time_and_this_key() -> None:
    assert ONE.cosigned(ARCHE, line()) == (line(), 1)
    assert ONE.cosigned(ARCHE, LINES + line(time_s=2**53 - 1)).time_s == 2**53 - 1
    plain = Signer("one", bytes(range(32))).line(ARCHE)
    bad = {
        "of another text": line(GO),
        "at another time": line(said=2),
        "without a time": line(time_s=0),
        "after all time": line(time_s=2**53),
        "in another name": line(name="two"),
        "by another key": line(number=b"1234"),
        "by the same key, of another kind": plain,
        "nobody's": "",
        "without an end": line()[:-1],
        "with more text": f"{GO}\n{line()}",
        "after an empty line": f"\n{line()}",
        "too short": f"— one {base64.b64encode(ONE.id + bytes(71)).decode()}\n",
        "not base64": "— one ?\n",
        "too many": line(name="x") * 101,
    }
    taken = []
    for how, lines in bad.items():
        try:
            ONE.cosigned(ARCHE, lines)
        except BadNote:
            continue
        taken.append(how)
    assert taken == []


@pytest.mark.parametrize(
    "text",
    [
        ARCHE[:-1],
        ARCHE + "more\n",
        ARCHE.replace("\n14", "\n014"),
        ARCHE.replace("\n14", "\n-14"),
        ARCHE.replace("1432088532", "9" * 19),
        ARCHE.replace("4Ro=", "4Rp="),
        ARCHE.replace("4Ro=", "4Ro"),
        ARCHE.replace("arche2025h1.staging.ct.transparency.dev", ""),
        "",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        parse(text)


def test_a_checkpoint_is_written_as_it_is_read() -> None:
    assert parse(str(Checkpoint("a b", 0, bytes(32)))) == ("a b", 0, bytes(32))
