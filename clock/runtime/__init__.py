"""Processes: the worker, the supervisor, and the servers that come with the package."""
