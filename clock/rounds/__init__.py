"""What happens to a round: opening, settling, finishing, voiding, and what follows from it."""
