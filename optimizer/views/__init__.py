"""What the web room is shown."""
