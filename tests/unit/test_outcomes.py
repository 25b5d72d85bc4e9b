"""Every word has its message in both languages, and the language is the one asked for."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clock.domain.outcomes import FOR_VERB, KEPT, OUTCOMES, RETRY_AFTER_SECONDS, Answer, envelope, language, message

API_WORDS = {
    "ok": (1, 200),
    "ordered": (1, 200),
    "order_pending": (1, 200),
    "already_joined": (0, 200),
    "settle_first": (0, 200),
    "profile_required": (0, 200),
    "checked_in": (1, 200),
    "already_checked_in": (1, 200),
    "too_early": (0, 200),
    "too_late": (0, 200),
    "not_joined": (0, 200),
    "claimed": (1, 200),
    "already_claimed": (1, 200),
    "not_settled": (0, 200),
    "not_checked_in": (0, 200),
    "paid": (1, 200),
    "already_paid": (1, 200),
    "refund_due": (1, 200),
    "order_not_found": (0, 404),
    "amount_mismatch": (0, 200),
    "buyer_mismatch": (0, 200),
    "transaction_missing": (0, 200),
    "bad_request": (0, 400),
    "unauthenticated": (0, 401),
    "bad_signature": (0, 401),
    "forbidden": (0, 403),
    "not_found": (0, 404),
    "method_not_allowed": (0, 405),
    "too_large": (0, 413),
    "slow_down": (0, 429),
    "busy": (0, 503),
    "unavailable": (0, 503),
}
"""The contract: what callers rely on."""


@pytest.mark.parametrize("word", API_WORDS)
def test_status_and_http_of_a_word_are_those_of_the_contract(word: str) -> None:
    assert (OUTCOMES[word].status, OUTCOMES[word].http) == API_WORDS[word]


def test_every_word_has_a_message_in_both_languages() -> None:
    texts = [(outcome.zh, outcome.en) for outcome in (*OUTCOMES.values(), KEPT)] + list(FOR_VERB.values())
    for zh, en in texts:
        assert any("\u4e00" <= character <= "\u9fff" for character in zh), zh
        assert en and en.isascii() and en == en.strip()


def test_words_are_for_machines_and_done_is_always_200() -> None:
    for word, outcome in OUTCOMES.items():
        assert word.replace("_", "").isalpha() and word == word.lower()
        assert outcome.status == 0 or outcome.http == 200, word


def test_whoever_may_try_again_is_told_when() -> None:
    again = {word for word, outcome in OUTCOMES.items() if outcome.http in (429, 503)}
    assert set(RETRY_AFTER_SECONDS) == again
    assert all(seconds > 0 for seconds in RETRY_AFTER_SECONDS.values())


def test_sentences_of_a_verb_are_for_words_that_exist() -> None:
    for verb, word in FOR_VERB:
        assert word in OUTCOMES
        assert message(verb, word, "zh") == FOR_VERB[verb, word][0] != OUTCOMES[word].zh
        assert message(verb, word, "en") == FOR_VERB[verb, word][1] != OUTCOMES[word].en
    assert message("no such verb", "too_early", "zh") == OUTCOMES["too_early"].zh


@pytest.mark.parametrize(
    "accept, expected",
    [
        ("", "zh"),
        ("*", "zh"),
        ("zh", "zh"),
        ("zh-CN", "zh"),
        ("zh-Hant-TW,en;q=0.9", "zh"),
        ("en", "en"),
        ("EN", "en"),
        ("en-US", "en"),
        ("en-GB,en-US;q=0.9,en;q=0.8", "en"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh;q=0.8, en;q=0.9", "en"),
        ("zh;q=0.9,en;q=0.8", "zh"),
        # order decides between equals
        ("en,zh", "en"),
        ("zh,en", "zh"),
        ("en;q=0.5,zh;q=0.5", "en"),
        # other languages do not count
        ("fr", "zh"),
        ("fr-FR,fr;q=0.9", "zh"),
        ("fr,en;q=0.1", "en"),
        ("de,zh;q=0.2,en;q=0.1", "zh"),
        ("english", "zh"),
        ("enx-US", "zh"),
        ("zho, en;q=0.3", "en"),
        # zero is a no
        ("en;q=0", "zh"),
        ("en;q=0.0,zh;q=0.1", "zh"),
        ("zh;q=0,en;q=0.001", "en"),
        # white space and case, as RFC 9110, 12.4.2 allows
        ("en; q=0.5 , zh; q=0.4", "en"),
        ("en ;q=0.5", "en"),
        ("en ; q=0.9, zh ; q=0.4", "en"),
        ("  en  ,  zh  ", "en"),
        ("en;Q=0.4, zh;q=0.2", "en"),
        # what cannot be read does not count
        ("en;q=", "zh"),
        ("en;q=abc", "zh"),
        ("en;q=nan", "zh"),
        ("en;q=abc,zh;q=0.1,en;q=0.2", "en"),
        (";;;,,,=,q=1", "zh"),
        (",", "zh"),
        ("en;q=-1", "zh"),
    ],
)
def test_english_where_it_is_asked_for_first(accept: str, expected: str) -> None:
    assert language(accept) == expected


@given(st.text(max_size=60) | st.text("enzhq=;,.-* 0123456789", max_size=60))
def test_any_header_gives_a_language(accept: str) -> None:
    assert language(accept) in ("zh", "en")


def test_the_envelope_has_its_four_fields_and_nothing_else() -> None:
    body = msgspec.json.decode(envelope(Answer("checked_in", {"money": 12300}), "check_in", "zh"))
    assert body == {"status": 1, "code": "checked_in", "message": "打卡成功", "data": {"money": 12300}}
    body = msgspec.json.decode(envelope(Answer("checked_in"), "check_in", "en"))
    assert body == {"status": 1, "code": "checked_in", "message": "Checked in", "data": {}}


def test_a_detail_follows_the_message() -> None:
    body = msgspec.json.decode(envelope(Answer("bad_request"), "join", "en", "Expected `int` - at `$.uid`"))
    assert body["message"] == "Bad request: Expected `int` - at `$.uid`"


def test_largest_numbers_are_written_to_the_digit() -> None:
    assert b'"money":9007199254740991' in envelope(Answer("checked_in", {"money": 2**53 - 1}), "check_in", "zh")
