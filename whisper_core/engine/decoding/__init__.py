"""Slots, the step of all windows in them, and which token comes next."""
