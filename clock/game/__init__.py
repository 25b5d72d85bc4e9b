"""The game in Redis: scripts, the batcher in front of them, and the verbs."""
