"""A second bookkeeper: every account's balance from the events alone, by the rules of the game.

It reads decoded stream entries and the provider's own books. What settlement decides it works out again; only the
packets it takes as they were claimed, and it does not look at the ledger or at any table.

A stake that was accepted is in exactly one place: returned to its winner, in a packet, in the fee, refunded or
carried (docs/ledger.md).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from clock.game import events


@dataclass
class Stake:
    """An accepted payment."""

    fen: int
    late: bool


@dataclass
class AuditedRound:
    """What the events have said of a round so far."""

    fee_bps: int
    carries: bool
    """Whether, where nobody wakes, the pot goes into the next round."""
    cap_fen: int
    channel: str = "platform"
    """One whose transfers have to be confirmed gives stakes back as refunds, and packets into the balance."""
    bonus_fen: int = 0
    """What the house adds where somebody wins."""
    stakes: dict[int, Stake] = field(default_factory=dict)
    awake: set[int] = field(default_factory=set)
    claimed: dict[int, int] = field(default_factory=dict)
    """User to packet in fen."""
    unwanted: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Order and transaction of each payment that goes back as it came: user and fen."""
    state: str = "open"
    carried_in: int = 0
    left_over: int = 0
    """Of the pot, what found no winner; it waits for a later round."""
    taken_by: str = ""

    def asleep(self) -> dict[int, Stake]:
        return {uid: stake for uid, stake in self.stakes.items() if uid not in self.awake}

    def refunded(self) -> dict[int, int]:
        """Users whose stakes go back when the round ends, with the fen."""
        if self.state == "void":
            return {uid: stake.fen for uid, stake in self.stakes.items()}
        if self.state != "settled":
            return {}
        everybody = not self.awake and not self.carries
        return {uid: stake.fen for uid, stake in self.asleep().items() if everybody or stake.late}

    def forfeited(self) -> int:
        if self.state != "settled":
            return 0
        back = self.refunded()
        return sum(stake.fen for uid, stake in self.asleep().items() if uid not in back)

    def fee(self) -> int:
        return self.forfeited() * self.fee_bps // 10_000

    def pot(self) -> int:
        return self.forfeited() - self.fee() + self.carried_in + self.added()

    def added(self) -> int:
        return self.bonus_fen if self.state == "settled" and self.awake else 0


class Audit:
    """``balances`` is what every account must hold; sums in fen, zeros left out."""

    def __init__(self) -> None:
        self.rounds: dict[str, AuditedRound] = {}
        self.sent: Counter[tuple[str, str]] = Counter()
        """Fen that have left, by channel and by ``payout`` and ``refund``."""
        self.withdrawn: Counter[tuple[str, int]] = Counter()
        """Fen that users have taken out of their balance, by channel and user."""
        self.came_back: Counter[tuple[str, int]] = Counter()
        """Fen that could not be given to a user, by kind and user."""

    def read(self, day: str, entries: Iterable[events.Event]) -> None:
        """Any entry may be read again."""
        round_ = self.rounds[day]
        for event in entries:
            match event:
                case events.Payment(rows=rows):
                    for uid, order_no, transaction, fen, _, outcome, _, _ in rows:
                        if outcome.startswith("paid"):
                            round_.stakes[uid] = Stake(fen, outcome == "paid_late")
                        else:
                            round_.unwanted[order_no, transaction] = (uid, fen)
                case events.CheckedIn(uids=uids):
                    round_.awake.update(uids)
                case events.Claimed(uids=uids, packets_fen=packets):
                    round_.claimed.update(zip(uids, packets, strict=True))

    def settled(self, day: str) -> None:
        """The round takes what earlier ones could not give, and its pot is divided."""
        round_ = self.rounds[day]
        if round_.state == "settled":
            return
        round_.state = "settled"
        for earlier, other in self.rounds.items():
            if earlier < day and other.state == "settled" and not other.taken_by:
                other.taken_by = day
                round_.carried_in += other.left_over
        winners, pot = len(round_.awake), round_.pot()
        most = winners * round_.cap_fen if round_.cap_fen else pot
        round_.left_over = max(0, pot - most) if winners else pot

    def voided(self, day: str) -> None:
        self.rounds[day].state = "void"

    def left(self, channel: str, kind: str, uid: int, fen: int) -> None:
        """The provider has given money to a user."""
        if kind == "withdrawal":
            self.withdrawn[channel, uid] += fen
        else:
            self.sent[channel, kind] += fen

    def failed(self, kind: str, uid: int, fen: int) -> None:
        """It could not; the user keeps it with us. What was to be withdrawn was there before."""
        if kind != "withdrawal":
            self.came_back[kind, uid] += fen

    def balances(self) -> dict[str, int]:
        accounts: Counter[str] = Counter()
        for day, round_ in self.rounds.items():
            self._pool(day, round_, accounts)
            accounts["fee"] += round_.fee()
            accounts["subsidy"] -= round_.added()
            accounts["carry"] += round_.left_over - round_.carried_in if round_.state == "settled" else 0
            accounts["owed:refund"] += sum(round_.refunded().values())
            accounts["owed:refund"] += sum(fen for _, fen in round_.unwanted.values())
            for uid, fen in round_.claimed.items():
                if round_.channel == "wechat":
                    accounts["owed:refund"] += round_.stakes[uid].fen
                    accounts[f"user:{uid}"] += fen
                else:
                    accounts["owed:payout"] += round_.stakes[uid].fen + fen
            accounts[f"channel:{round_.channel}"] -= sum(stake.fen for stake in round_.stakes.values())
            accounts[f"channel:{round_.channel}"] -= sum(fen for _, fen in round_.unwanted.values())
        for (channel, kind), fen in self.sent.items():
            accounts[f"owed:{kind}"] -= fen
            accounts[f"channel:{channel}"] += fen
        for (channel, uid), fen in self.withdrawn.items():
            accounts[f"user:{uid}"] -= fen
            accounts[f"channel:{channel}"] += fen
        for (kind, uid), fen in self.came_back.items():
            accounts[f"owed:{kind}"] -= fen
            accounts[f"user:{uid}"] += fen
        assert sum(accounts.values()) == 0, accounts
        return {account: fen for account, fen in accounts.items() if fen}

    @staticmethod
    def _pool(day: str, round_: AuditedRound, accounts: Counter[str]) -> None:
        """What is still in the round: all that came in, less all that has gone to a place of its own."""
        pool = sum(stake.fen for stake in round_.stakes.values())
        pool -= sum(round_.refunded().values())
        pool -= sum(round_.stakes[uid].fen + fen for uid, fen in round_.claimed.items())
        if round_.state == "settled":
            pool += round_.carried_in + round_.added() - round_.fee() - round_.left_over
        accounts[f"pool:{day}"] += pool
