"""How much the server takes: `make load` measures the rows of the load table into docs/reliability.md."""
