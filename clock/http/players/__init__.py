"""Paths of players and of payment providers."""
