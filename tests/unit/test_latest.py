"""What several entries of one batch say of a user is one row: the last word of each kind."""

from clock.books.entries import _latest


def test_an_empty_text_says_nothing_and_an_older_entry_too() -> None:
    said = [
        (1, "open", "", "first", 10),
        (2, "other", "139", "somebody else", 11),
        (1, "", "138", "", 12),
        (1, "old", "old", "old", 9),
        (1, "", "", "last", 12),
    ]
    assert _latest(said) == [(1, "open", "138", "last", 12), (2, "other", "139", "somebody else", 11)]
