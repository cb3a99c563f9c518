"""What every part of the optimizer uses: kinds of devices, the processor, figures as text, time as an argument, files
that are complete or absent, faults on purpose."""
