"""Slots, the decoding step of all windows in them, and the rules for the next token."""
