"""A watched folder: its recordings become tasks, and their transcripts are written into a folder."""
