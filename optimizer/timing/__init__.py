"""How long tasks take: measured speeds, and what they say of tasks to come."""
