"""What the users were told: the journal of every acknowledged answer, written by the load itself."""

from collections import Counter
from datetime import date
from typing import Any

import msgspec


class Told(msgspec.Struct):
    """One user in one round: what they intend, and what was acknowledged to them."""

    uid: int
    day: date
    sleeps: bool = False
    forgets: bool = False
    pays: str = "evening"
    """``evening``, ``twice``, ``in_the_morning`` (in time, told of late), ``too_late``, ``never``."""
    edge: str = ""
    """Acts at this boundary, while the clock crosses it: ``midnight``, ``opening`` or ``closing``."""
    order_no: str = ""
    pay: dict[str, Any] = {}
    """What the client was given to pay with, where the provider had to be asked for it."""
    is_member: bool = False
    staked: set[str] = msgspec.field(default_factory=set)
    """Transactions answered ``paid`` or ``already_paid``."""
    refused: set[str] = msgspec.field(default_factory=set)
    """Transactions answered ``refund_due``."""
    firsts: int = 0
    """How often ``checked_in`` was answered, instead of ``already_checked_in``."""
    is_winner: bool = False
    promised: list[str] = []
    """Leaves of receipts that came with ``checked_in``, or, where none did, from the books."""
    claims: int = 0
    """How often ``claimed`` was answered, instead of ``already_claimed``."""
    packet_fen: int | None = None
    stake_fen: int | None = None

    @property
    def open_id(self) -> str:
        """One for each round, so that the provider's books tell the rounds apart."""
        return f"open-{self.uid}-{self.day:%m%d}"


class Journal:
    """All rounds' users, the count of acknowledged answers, and what contradicted an earlier one."""

    def __init__(self) -> None:
        self.told: dict[date, dict[int, Told]] = {}
        self.acknowledged: Counter[str] = Counter()
        """By verb and word."""
        self.retried: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()
        self.lost: list[str] = []
        self.paid_twice: list[str] = []
        self.differing: list[str] = []
        self.broken: list[str] = []
        """Answers that no caller should ever see."""

    @property
    def failed(self) -> bool:
        return bool(self.lost or self.paid_twice or self.differing or self.broken)

    def check_in(self, told: Told, word: str) -> None:
        told.is_winner = True
        told.firsts += word == "checked_in"
        if told.firsts > 1:
            self.paid_twice.append(f"round {told.day} user {told.uid} was told checked_in {told.firsts} times")

    def claim(self, told: Told, word: str, packet_fen: int, stake_fen: int) -> None:
        told.claims += word == "claimed"
        if told.claims > 1:
            self.paid_twice.append(f"round {told.day} user {told.uid} was told claimed {told.claims} times")
        if told.packet_fen not in (None, packet_fen) or told.stake_fen not in (None, stake_fen):
            self.differing.append(
                f"round {told.day} user {told.uid} was told {told.packet_fen} + {told.stake_fen} fen,"
                f" then {packet_fen} + {stake_fen}"
            )
        told.packet_fen, told.stake_fen = packet_fen, stake_fen
