"""The life of a round: opening, settling, finishing, voiding, and the standings and reminders of its users."""
