"""Long work: what is asked for, who does it, how far it is, how it ended."""
