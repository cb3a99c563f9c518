"""The nouns: a task, its states, its timeline, why it waits, and the events that listeners get."""
