"""Signed notes: the example of Go's implementation, and whatever is not one."""

import base64

import pytest

from clock.fair.notes import BadKey, BadNote, Verifier, new_key, parts, sign, signers_of, verifier_of, verify
from tests.conftest import STATEMENT_KEY

PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
LINE = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
"""golang.org/x/mod/sumdb/note, example_test.go."""

OTHER = new_key("other.example/clock")


def test_a_note_is_the_one_that_another_implementation_writes() -> None:
    signers = signers_of(STATEMENT_KEY)
    assert [str(signer.verifier) for signer in signers] == [PUBLIC]
    assert sign(TEXT, signers) == f"{TEXT}\n{LINE}"
    assert verify(f"{TEXT}\n{LINE}", [verifier_of(PUBLIC)]) == (TEXT, [verifier_of(PUBLIC)])


def test_every_key_signs_and_a_reader_needs_one_of_them() -> None:
    signers = signers_of(f"{STATEMENT_KEY}\n{OTHER}")
    first, second = (signer.verifier for signer in signers)
    note = sign(TEXT, signers)
    assert note.startswith(f"{TEXT}\n{LINE}— other.example/clock ")
    assert [verify(note, keys)[1] for keys in ([first], [second], [second, first])] == [
        [first],
        [second],
        [first, second],
    ]
    same_name = Verifier("PeterNeumann", second.public)
    with pytest.raises(BadNote, match="known keys"):
        verify(note, [same_name])


PEM_CONTENT = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC"
PEM = f"-----BEGIN PRIVATE KEY-----\n{PEM_CONTENT}\n-----END PRIVATE KEY-----"
"""RFC 8410, 10.3."""


def test_a_key_may_be_pem_below_its_name() -> None:
    [first, second, third] = signers_of(f"play.example/clock\n{PEM}\n{STATEMENT_KEY} b {PEM}\n")
    assert [one.name for one in (first, second, third)] == ["play.example/clock", "PeterNeumann", "b"]
    assert (
        first.verifier.public
        == third.verifier.public
        == bytes.fromhex("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1")
    )


@pytest.mark.parametrize(
    "keys",
    [
        PEM,
        f"a+b\n{PEM}",
        f"a b {PEM}",
        f"a\n{PEM}x",
        f"a\n{PEM.replace('MC4C', 'MC4D')}",
        f"a\n{PEM.replace('PRIVATE', 'ENCRYPTED PRIVATE')}",
        f"a\n{PEM} {PUBLIC}",
        f"{'n' * 201}\n{PEM}",
    ],
)
def test_pem_without_a_name_or_that_is_none_is_refused(keys: str) -> None:
    with pytest.raises(BadKey) as error:
        signers_of(keys)
    assert "INTuctv5" not in str(error.value)


def test_the_text_may_have_an_empty_line() -> None:
    text = "a\n\nb\n"
    assert parts(sign(text, signers_of(OTHER)))[0] == text


@pytest.mark.parametrize(
    "note",
    [
        "",
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}{LINE}",
        f"{TEXT}\n{LINE[:-1]}",
        f"{TEXT}\n{LINE}\n",
        f"{TEXT}\n{LINE.replace('— ', '- ')}",
        f"{TEXT}\n{LINE.replace('PeterNeumann', 'Peter+Neumann')}",
        f"{TEXT}\n{LINE.replace('x08go/', '')}",
        f"{TEXT}\n— PeterNeumann x08gow==\n",
        f"{TEXT}\r\n\n{LINE}",
        f"{TEXT}\n{LINE * 101}",
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(BadNote):
        verify(note, [verifier_of(PUBLIC)])


def test_another_text_or_another_signature_is_refused() -> None:
    signature = bytearray(base64.b64decode(LINE.split()[2]))
    signature[-1] ^= 1
    forged = LINE.replace(LINE.split()[2], base64.b64encode(signature).decode())
    for note in (f"{TEXT.upper()}\n{LINE}", f"{TEXT}\n{forged}"):
        with pytest.raises(BadNote, match="is not its"):
            verify(note, [verifier_of(PUBLIC)])


@pytest.mark.parametrize(
    "key",
    [
        PUBLIC,
        STATEMENT_KEY.replace("c74f20a3", "c74f20a4"),
        STATEMENT_KEY.replace("PeterNeumann", "Peter"),
        STATEMENT_KEY[:-4],
        STATEMENT_KEY.replace("+AYEK", "+AoEK"),
        "PRIVATE+KEY+PeterNeumann",
    ],
)
def test_a_key_that_is_none_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(BadKey) as error:
        signers_of(key)
    assert key.rpartition("+")[2] not in str(error.value)


@pytest.mark.parametrize("key", ["", STATEMENT_KEY, PUBLIC.replace("a3", "a4"), PUBLIC.replace("+AR", "+AB")])
def test_a_public_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(BadKey):
        verifier_of(key)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\u3000b", "n" * 201])
def test_a_name_that_no_key_can_have_is_refused(name: str) -> None:
    with pytest.raises(BadKey):
        new_key(name)
