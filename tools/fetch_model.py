"""Fetches the weights of the named models, or of DEFAULT_MODEL, into MODELS_DIR. Called by `make`."""

from __future__ import annotations

import sys

from config import load_settings
from errors import StartError
from whisper_core.models.__main__ import main as fetch_command
from whisper_core.models.catalogue import MODELS


def main(names: list[str]) -> int:
    try:
        settings = load_settings()
    except StartError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    where = ["--models-dir", str(settings.models_dir), "--sources", settings.model_sources]
    if not names:
        if settings.default_model not in MODELS:
            return 0  # it was brought to MODELS_DIR, so it is here
        names = [settings.default_model]
    return max(fetch_command(["fetch", name, *where]) for name in names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
