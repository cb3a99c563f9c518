"""How long tasks take: measured speeds, and what they predict for tasks to come."""
