"""The Whisper network, laid out for batches."""
