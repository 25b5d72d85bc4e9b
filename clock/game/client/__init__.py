"""Redis: one server, what Sentinels name, or a cluster. Only this package knows which."""
