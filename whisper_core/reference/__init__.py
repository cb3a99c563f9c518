"""openai-whisper's own functions behind the same interface as the batch engine."""
