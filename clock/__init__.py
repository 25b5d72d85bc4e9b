"""clock: an early-rise check-in game. Stake today, check in tomorrow morning, share what the sleepers left."""
