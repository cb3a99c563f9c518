"""When and where a task runs: queue, memory ledger, estimates, scheduling, device workers. No Flask, no torch."""
