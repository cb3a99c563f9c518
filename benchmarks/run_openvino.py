"""A contender's process: OpenVINO GenAI's WhisperPipeline with its own defaults (greedy), all cores.

    python -m benchmarks.run_openvino FOLDER

Runs in the benchmark's own environment. One recording after the other.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
from openvino_genai import WhisperPipeline

from benchmarks.child_process import serve
from benchmarks.measurement import Text
from benchmarks.one_by_one import one_by_one

SAMPLE_RATE = 16_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    options = parser.parse_args()
    pipeline = WhisperPipeline(options.folder, "CPU", INFERENCE_NUM_THREADS=os.cpu_count() or 1)

    def transcribe(samples: np.ndarray) -> Text:
        """It tells no segments unless asked for them, so there is one."""
        text = str(pipeline.generate(samples))
        return Text(text, ((0.0, round(len(samples) / SAMPLE_RATE, 2), text),))

    serve(one_by_one(transcribe))


if __name__ == "__main__":
    main()
