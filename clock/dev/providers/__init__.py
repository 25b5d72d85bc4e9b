"""Doubles of payment providers: each is a process of its own, speaks its provider's protocol, moves no money, and has
durable books and every trouble that the provider can make (docs/decisions/0064)."""
