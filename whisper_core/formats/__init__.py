"""What the files of a model say of it: one reader for each format. No torch, and nothing from a file is ever run."""
