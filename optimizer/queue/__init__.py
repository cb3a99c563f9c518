"""IntelligentQueueManager: every task's state, and the order of those that wait."""
