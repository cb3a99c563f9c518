"""What every part of the scheduler uses: time as an argument, writing files whole, faults on purpose."""
