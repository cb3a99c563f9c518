"""Transcripts, their formats, and the options of a transcription."""
