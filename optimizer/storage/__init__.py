"""The durable truth: the database, and the files of each task."""
