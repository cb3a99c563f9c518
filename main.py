"""`python main.py`: reads the settings and serves, or executes a command. Decides which system the server runs."""

from __future__ import annotations

import gc
import sys
from functools import partial
from pathlib import Path

from config import Settings, load_settings, unknown_names
from errors import InvalidSettingsError

ENV_FILE = Path(".env")


def main() -> int:
    """Returns the process's exit code."""
    arguments = sys.argv[1:]
    if not arguments:
        return serve()
    from cli.program import run

    return run(arguments, serve=serve, load=partial(load_settings, ENV_FILE))


def serve() -> int:
    """Serves until a signal asks to stop. Returns the process's exit code."""
    try:
        settings = load_settings(ENV_FILE)
    except InvalidSettingsError as error:
        print(error, file=sys.stderr)
        return error.exit_code

    # Modules and classes are never garbage. Without collections during the imports every start is a tenth of a second
    # faster, and after gc.freeze() the forked process does not examine them either.
    gc.disable()
    # Imported here, because the device workers import this file as well and do not need the server.
    from web.server import gunicorn_app

    gc.freeze()
    gc.enable()

    return gunicorn_app.serve(settings, make_system=make_system, warnings=_warnings())


def make_system(settings: Settings):  # type: ignore[no-untyped-def]
    """The system with this machine's devices, files and database, or a share in one. It is not started yet."""
    from optimizer.system import OptimizedWhisperSystem

    if settings.leader_election:
        from optimizer.leadership.shared_system import SharedSystem

        return SharedSystem(settings, partial(OptimizedWhisperSystem, settings))
    return OptimizedWhisperSystem(settings)


def _warnings() -> list[str]:
    names = unknown_names(ENV_FILE)
    return [f"{ENV_FILE} has names that are no settings, so they do nothing: {', '.join(names)}"] if names else []


if __name__ == "__main__":
    sys.exit(main())
