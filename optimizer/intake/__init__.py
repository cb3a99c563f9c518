"""From an upload to a task whose samples are there."""
