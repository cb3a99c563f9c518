"""HTTP and the live feed. Knows Flask; reaches everything else through OptimizedWhisperSystem."""
