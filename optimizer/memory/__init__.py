"""GPUMemoryPool and MemoryEstimationPool: what is reserved of a device's memory, and what a task will need."""
