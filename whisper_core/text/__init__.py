"""Transcripts, their formats, and what may be chosen."""
