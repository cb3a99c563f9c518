"""Out and in without a click: who is told when a task ends, and folders whose files become tasks."""
