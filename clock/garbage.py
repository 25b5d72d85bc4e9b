"""When Python looks for garbage: reference cycles that nobody needs any more."""

import gc


def look_seldom() -> None:
    """After every 50,000 new objects instead of every 700 or 2,000. A start makes objects and hardly any garbage:
    looking for it takes a fifth of an API process' start (docs/decisions/0020)."""
    gc.set_threshold(50_000, 20, 100)


def leave_out_what_is_there() -> None:
    """The objects that exist now are never garbage."""
    gc.collect()
    gc.freeze()
