"""The name of the product and its version. The rest of the code takes both from here."""

PRODUCT_NAME = "Whisper Scheduler"
__version__ = "0.1.0"
