"""HTTP and the live feed. Uses Flask, and reaches everything else through OptimizedWhisperSystem."""
