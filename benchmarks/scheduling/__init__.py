"""What the scheduler is worth: the same tasks through it and through what people would do without it."""
