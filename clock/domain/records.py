"""The states of a member's record: its first letter, as the script ``status`` answers it.

``O`` ordered, ``M`` paid, ``L`` paid late, ``C`` checked in, ``P`` packet claimed; ``-`` no record, ``V`` the round is
void. A state is the letter's code, ``reply[0]``. After an ``O`` comes ``?`` where a payment of the order is looked
into, otherwise ``.``, and the tail of its number.
"""

MEMBER_STATES = frozenset(b"MLCP")
CHECKED_IN_STATES = frozenset(b"CP")
ASLEEP_STATES = MEMBER_STATES - CHECKED_IN_STATES
"""Members who have not checked in."""

ORDERED, LATE, PACKET, CLAIMED, VOID = b"OLCPV"
LOOKED_INTO = ord("?")


def clock_status(state: int) -> int:
    """0 not a member, 1 a member, 2 checked in."""
    return 2 if state in CHECKED_IN_STATES else int(state in MEMBER_STATES)


def red_status(state: int) -> int:
    """0 no packet, 1 a packet to claim, 2 the packet is claimed."""
    return 2 if state == CLAIMED else int(state == PACKET)
