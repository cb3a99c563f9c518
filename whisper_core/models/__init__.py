"""Which models exist, where their weights come from, and loading them. `python -m whisper_core.models fetch`."""
