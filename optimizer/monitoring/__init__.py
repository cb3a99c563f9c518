"""PerformanceMonitor: what gets done, kept for a week, and what is tuned by it."""
