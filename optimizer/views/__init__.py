"""What the web package is shown."""
