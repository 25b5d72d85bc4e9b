"""The command line: one command each for what the service runs and what operators do."""
