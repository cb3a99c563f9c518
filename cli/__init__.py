"""What `python main.py COMMAND` does besides serving."""
