"""Benchmarks. Every target is a ratio of two figures of the same run. ``python -m bench`` runs them all."""
