"""The game itself: rounds and their windows, the split, order numbers, words. Imports nothing of the service."""
