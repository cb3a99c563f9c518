"""A contender's process: whisper.cpp through pywhispercpp with its own defaults (greedy), all cores.

    python -m benchmarks.run_whisper_cpp FILE [--any-language]

Runs in the benchmark's own environment. One recording after the other.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
from pywhispercpp.model import Model

from benchmarks.child_process import serve
from benchmarks.measurement import Text
from benchmarks.one_by_one import one_by_one

HUNDREDTHS = 100  # whisper.cpp counts time in them


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--any-language", action="store_true", help="let a multilingual model tell it from the sound")
    options = parser.parse_args()
    language = "auto" if options.any_language else "en"
    model = Model(options.file, n_threads=os.cpu_count() or 1, language=language, print_progress=False)

    def transcribe(samples: np.ndarray) -> Text:
        """pywhispercpp strips the segments, and openai-whisper's begin with a space where the language has any."""
        parts = tuple(
            (part.t0 / HUNDREDTHS, part.t1 / HUNDREDTHS, f" {part.text}") for part in model.transcribe(samples)
        )
        return Text("".join(text for _, _, text in parts), parts)

    serve(one_by_one(transcribe))


if __name__ == "__main__":
    main()
