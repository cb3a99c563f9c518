"""Sound in, transcript out. Knows nothing of queues, databases or the web.

Importing this package does not import torch, because the web process uses parts of it.
"""
