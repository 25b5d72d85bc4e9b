"""For development: a simulated provider, a simulated day, a clock that can be moved."""
