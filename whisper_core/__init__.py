"""Sound in, transcript out. Knows nothing of tasks' queues, databases or the web.

Importing this package imports no torch: the web process reads `models`, `options` and `transcript` from it.
"""
