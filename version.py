"""What this server is called, and its version: both are said here and nowhere else in the code."""

PRODUCT_NAME = "Whisper Scheduler"
__version__ = "0.1.0"
