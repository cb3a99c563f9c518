"""Several processes that serve the same: one leads, which has the queue, and the others pass on what they are asked."""
