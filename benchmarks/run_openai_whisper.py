"""A contender's process: `whisper.transcribe` with its defaults, one recording after the other.

    python -m benchmarks.run_openai_whisper MODEL MODELS_DIR [--device cuda]

On the CPU in fp32 on all cores; on a GPU in fp16.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import torch
from whisper.decoding import DecodingOptions, DecodingResult
from whisper.model import Whisper

from benchmarks.child_process import Request, forget_peak, peak_bytes, serve
from benchmarks.measurement import Measurement, Text
from benchmarks.recordings import read_samples
from whisper_core.models.load import load_model


class CountedWhisper:
    """Counts what `transcribe` asks of the model: one decode a window and one more for every fallback."""

    def __init__(self, model: Whisper) -> None:
        self.reset()
        decode = model.decode

        def counted(mel: torch.Tensor, options: DecodingOptions) -> DecodingResult:
            result: DecodingResult = decode(mel, options)
            self.windows += options.temperature == 0
            self.tokens += len(result.tokens)
            self.fallbacks += options.temperature == 0.2  # the ladder's second
            return result

        model.decode = counted

    def reset(self) -> None:
        self.windows = self.tokens = self.fallbacks = 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("models_dir", type=Path)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    model = load_model(options.model, options.models_dir, options.device)
    counter = CountedWhisper(model)
    is_half = options.device != "cpu"
    model.transcribe(torch.zeros(16_000), fp16=is_half)  # what is set up at the first use

    def measure(request: Request) -> Measurement:
        counter.reset()
        forget_peak()
        began = time.perf_counter()
        texts = {
            sound.name: Text.from_transcript(model.transcribe(read_samples(sound.samples), fp16=is_half))
            for sound in request.recordings
        }
        seconds = time.perf_counter() - began
        return Measurement(
            seconds,
            texts,
            peak_bytes(),
            windows=counter.windows,
            tokens=counter.tokens,
            fallbacks=counter.fallbacks,
        )

    serve(measure)


if __name__ == "__main__":
    main()
