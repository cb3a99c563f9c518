"""What both the models' files and the recordings' files need."""
