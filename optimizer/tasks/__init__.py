"""The nouns: a task, its states, its timeline, why it waits, and what listeners are told of it."""
