"""Processes: the worker, the supervisor, and the embedded servers."""
