"""Fetches the weights of the named models, or of DEFAULT_MODEL, into MODELS_DIR. Called by `make`."""

from __future__ import annotations

import sys

from config import load_settings
from errors import StartError
from whisper_core.models.__main__ import main as fetch_command


def main(names: list[str]) -> int:
    try:
        settings = load_settings()
    except StartError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    where = ["--models-dir", str(settings.models_dir), "--sources", settings.model_sources]
    return max(fetch_command(["fetch", name, *where]) for name in names or [settings.default_model])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
