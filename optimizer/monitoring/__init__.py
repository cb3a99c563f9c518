"""PerformanceMonitor: what gets done, kept for a week, and the limits that are tuned by it."""
