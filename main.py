"""`python main.py`: settings -> system -> web application -> server. The only file that builds the concrete parts."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from config import Settings, load_settings, unknown_names
from errors import InvalidSettingsError

ENV_FILE = Path(".env")


def main() -> int:
    """Serve until a signal says stop. Returns the process's exit code."""
    try:
        settings = load_settings(ENV_FILE)
    except InvalidSettingsError as error:
        print(error, file=sys.stderr)
        return error.exit_code

    # Modules and classes are no garbage: not looking for some while they are made saves a tenth of a second of every
    # start, and frozen ones are not looked at again in the process that is forked either.
    gc.disable()
    # Imported here: the worker processes import this file again, and need none of it.
    from web.server.gunicorn_app import serve

    gc.freeze()
    gc.enable()

    return serve(settings, make_system=make_system, warnings=_warnings())


def make_system(settings: Settings):  # type: ignore[no-untyped-def]
    """The system with the machine's own devices, files and database; not started yet."""
    from optimizer.system import OptimizedWhisperSystem

    return OptimizedWhisperSystem(settings)


def _warnings() -> list[str]:
    names = unknown_names(ENV_FILE)
    return [f"{ENV_FILE} has names that are no settings, so they do nothing: {', '.join(names)}"] if names else []


if __name__ == "__main__":
    sys.exit(main())
