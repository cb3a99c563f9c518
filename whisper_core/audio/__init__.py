"""Any file to 16 kHz samples, samples to features, and where somebody speaks."""
