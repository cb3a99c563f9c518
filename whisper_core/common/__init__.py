"""Files that survive a power cut, and the units of sound."""
