"""Tasks over HTTP: uploads, the list of tasks, downloads."""
