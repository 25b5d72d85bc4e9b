"""The log of statements: how they get into it, what is served of it, and who witnesses it."""
