"""Tasks over HTTP: uploads, the task list, downloads."""
