"""When and where a task runs: queue, memory ledger, estimates, scheduling, device workers. Knows no Flask, imports no torch."""
