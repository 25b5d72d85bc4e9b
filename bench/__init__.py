"""Benchmarks: every target a ratio measured in one run. ``python -m bench`` runs them all."""
