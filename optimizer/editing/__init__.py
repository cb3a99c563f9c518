"""What people change in transcripts, kept step by step."""
