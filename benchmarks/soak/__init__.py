"""Mixed work with faults in between, and then: is everything there, once, and nothing left over? `make soak`."""
