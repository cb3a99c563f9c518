"""A contender's process: `whisper.transcribe` with its defaults, fp32 on all cores, one recording after the other.

python -m benchmarks.run_openai_whisper MODEL MODELS_DIR
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from whisper.decoding import DecodingOptions, DecodingResult
from whisper.model import Whisper

from benchmarks.child_process import serve
from benchmarks.measurement import Text
from benchmarks.one_by_one import Counter, one_by_one
from whisper_core.models.load import load_model


def count(model: Whisper) -> Counter:
    """What `transcribe` asks of the model: one decode a window and one more for every fallback."""
    counter = Counter()
    decode = model.decode

    def counted(mel: torch.Tensor, options: DecodingOptions) -> DecodingResult:
        result: DecodingResult = decode(mel, options)
        counter.windows += options.temperature == 0
        counter.tokens += len(result.tokens)
        counter.fallbacks += options.temperature == 0.2  # the ladder's second
        return result

    model.decode = counted
    return counter


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("models_dir", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    model = load_model(options.model, options.models_dir, "cpu")

    def transcribe(samples: np.ndarray) -> Text:
        return Text.from_transcript(model.transcribe(samples, fp16=False))

    serve(one_by_one(transcribe, count(model)))


if __name__ == "__main__":
    main()
