"""The game in Redis: the scripts, the client and the batcher in front of them, and the verbs."""
