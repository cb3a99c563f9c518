"""What people change in a transcript: edits, and what they make of the original."""
