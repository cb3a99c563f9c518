"""What every part of the optimizer uses: time as an argument, files that are complete or absent, faults on purpose."""
