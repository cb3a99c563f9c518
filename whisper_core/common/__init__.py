"""Files that survive a power cut, the units of sound, and how many windows are decoded at once."""
