"""Which models exist, fetching their weights (`python -m whisper_core.models fetch NAME`), and loading them."""
