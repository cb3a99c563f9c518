"""GPUMemoryPool and MemoryEstimationPool: what is promised of a device's memory, and what a task will need."""
