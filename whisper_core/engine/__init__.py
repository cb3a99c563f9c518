"""The batch engine: the encoder and decoder passes that many recordings ask for at the same moment run together."""
