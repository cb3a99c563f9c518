"""A contender's process: faster-whisper with its own defaults, int8 on the CPU (fp16 on a GPU), all cores.

    python -m benchmarks.run_faster_whisper FOLDER sequential|batched [--device cuda]

Runs in the benchmark's own environment. Batched: BatchedInferencePipeline, 16 pieces of one recording at a time.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel

from benchmarks.child_process import Request, forget_peak, peak_bytes, serve
from benchmarks.measurement import Measurement, Text

BATCH_SIZE = 16


class Counter:
    """Windows, tokens and fallbacks, counted where faster-whisper gets them. Batched never falls back."""

    def __init__(self, model: WhisperModel, pipeline: BatchedInferencePipeline | None) -> None:
        self.reset()
        generate = model.generate_with_fallback

        def counted(*arguments: Any, **options: Any) -> Any:
            answer = generate(*arguments, **options)
            result, _, temperature, _ = answer
            self._add(len(result.sequences_ids[0]), temperature > 0)
            return answer

        model.generate_with_fallback = counted
        if pipeline is None:
            return
        generate_batch = pipeline.generate_segment_batched

        def counted_batch(*arguments: Any, **options: Any) -> Any:
            encoded, outputs = generate_batch(*arguments, **options)
            for output in outputs:
                self._add(len(output["tokens"]), False)
            return encoded, outputs

        pipeline.generate_segment_batched = counted_batch

    def reset(self) -> None:
        self.windows = self.tokens = self.fallbacks = 0

    def _add(self, tokens: int, fell_back: bool) -> None:
        self.windows += 1
        self.tokens += tokens
        self.fallbacks += fell_back


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("way", choices=["sequential", "batched"])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = options.device.partition(":")[0]
    compute_type = "int8" if device == "cpu" else "float16"
    model = WhisperModel(options.folder, device=device, compute_type=compute_type, cpu_threads=os.cpu_count() or 1)
    pipeline = BatchedInferencePipeline(model) if options.way == "batched" else None

    counter = Counter(model, pipeline)

    def transcribe(samples: np.ndarray) -> Text:
        if pipeline is None:
            segments, _ = model.transcribe(samples)
        else:
            segments, _ = pipeline.transcribe(samples, batch_size=BATCH_SIZE)
        parts = tuple((round(part.start, 2), round(part.end, 2), part.text) for part in segments)
        return Text("".join(text for _, _, text in parts), parts)

    transcribe(np.zeros(16_000, dtype=np.float32))  # what is set up at the first use

    def measure(request: Request) -> Measurement:
        counter.reset()
        forget_peak()
        began = time.perf_counter()
        texts = {sound.name: transcribe(read_samples(sound.samples)) for sound in request.recordings}
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


def read_samples(path: str) -> np.ndarray:
    return np.fromfile(path, dtype=np.int16).astype(np.float32) / 32768.0


if __name__ == "__main__":
    main()
