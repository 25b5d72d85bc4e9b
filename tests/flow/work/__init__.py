"""Long work: asked for, done by whoever lives, shown, and done once."""
