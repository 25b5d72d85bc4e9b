"""Redis and the books compared, with each other and with the provider; Redis made anew from the books."""
