"""A contender's process: faster-whisper with its own defaults, all cores.

    python -m benchmarks.run_faster_whisper FOLDER --compute-type int8 [--batch-size 16]

Runs in the benchmark's own environment. With a batch size: BatchedInferencePipeline, so many pieces of one recording at
a time; without: WhisperModel.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel

from benchmarks.child_process import serve
from benchmarks.measurement import Text
from benchmarks.one_by_one import Counter, one_by_one


def count(model: WhisperModel, pipeline: BatchedInferencePipeline | None) -> Counter:
    """Windows, tokens and fallbacks, counted where faster-whisper gets them. Batched never falls back."""
    counter = Counter()
    generate = model.generate_with_fallback

    def counted(*arguments: Any, **options: Any) -> Any:
        answer = generate(*arguments, **options)
        result, _, temperature, _ = answer
        counter.windows += 1
        counter.tokens += len(result.sequences_ids[0])
        counter.fallbacks += temperature > 0
        return answer

    model.generate_with_fallback = counted
    if pipeline is None:
        return counter
    generate_batch = pipeline.generate_segment_batched

    def counted_batch(*arguments: Any, **options: Any) -> Any:
        encoded, outputs = generate_batch(*arguments, **options)
        counter.windows += len(outputs)
        counter.tokens += sum(len(output["tokens"]) for output in outputs)
        return encoded, outputs

    pipeline.generate_segment_batched = counted_batch
    return counter


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--compute-type", required=True, help="CTranslate2's name of a precision")
    parser.add_argument("--batch-size", type=int)
    options = parser.parse_args()
    model = WhisperModel(
        options.folder, device="cpu", compute_type=options.compute_type, cpu_threads=os.cpu_count() or 1
    )
    pipeline = BatchedInferencePipeline(model) if options.batch_size else None

    def transcribe(samples: np.ndarray) -> Text:
        if pipeline is None:
            segments, _ = model.transcribe(samples)
        else:
            segments, _ = pipeline.transcribe(samples, batch_size=options.batch_size)
        parts = tuple((round(part.start, 2), round(part.end, 2), part.text) for part in segments)
        return Text("".join(text for _, _, text in parts), parts)

    serve(one_by_one(transcribe, count(model, pipeline)))


if __name__ == "__main__":
    main()
