"""From any file to 16 kHz samples, from samples to features, and where in a recording somebody speaks."""
