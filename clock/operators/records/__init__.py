"""Old months leave for files and come back; a person's data is copied, or forgotten."""
