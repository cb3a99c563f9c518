"""IntelligentQueueManager: every task's state, and the order of the waiting tasks."""
