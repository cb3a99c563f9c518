"""Which tasks run next, together, and where: pure functions."""
