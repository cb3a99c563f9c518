"""Word error rate of this project beside openai-whisper's own, on the same recordings in the same run.

    python -m benchmarks.word_error_rate --recordings FOLDER --models tiny.en base

FOLDER holds recordings and a `manifest.json` (see recordings.py); those without a text are only compared for
equality. Both sides get the same samples, openai-whisper's defaults and its English normaliser.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import whisper
from whisper.normalizers import EnglishTextNormalizer

from benchmarks.recordings import Recording, read_recordings
from benchmarks.samples import read_samples
from benchmarks.scores import word_error_rate
from config import load_settings
from whisper_core.models.load import load_model
from whisper_core.reference.engine import ReferenceEngine
from whisper_core.text.options import TranscribeOptions
from whisper_core.worker.messages import RunTask

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """One recording, both ways. Texts are normalised; seconds are of wall clock."""

    recording: Recording
    reference: str | None
    ours: str
    upstream: str
    is_equal: bool
    our_seconds: float
    upstream_seconds: float


def compare(model_name: str, recordings: list[Recording], models_dir: Path) -> list[Row]:
    """An English model is not asked about other languages."""
    engine = ReferenceEngine("cpu", 0)
    engine.load(model_name, models_dir)
    upstream = load_model(model_name, models_dir, "cpu")
    normalise = EnglishTextNormalizer()
    rows = []
    for recording in recordings:
        if recording.language != "en" and not upstream.is_multilingual:
            continue
        began = time.perf_counter()
        ours = run_ours(engine, model_name, recording)
        between = time.perf_counter()
        theirs = run_upstream(upstream, recording)
        ended = time.perf_counter()
        rows.append(
            Row(
                recording,
                normalise(recording.text) if recording.text else None,
                normalise(ours["text"]),
                normalise(theirs["text"]),
                is_equal=ours == theirs,
                our_seconds=between - began,
                upstream_seconds=ended - between,
            )
        )
    return rows


def run_ours(engine: ReferenceEngine, model_name: str, recording: Recording) -> dict[str, Any]:
    command = RunTask("wer", "wer", model_name, str(recording.samples_path), TranscribeOptions())
    transcript = engine.run(command, lambda window: None, lambda: False)
    if transcript is None:
        raise RuntimeError("the engine stopped although nobody asked it to")
    return transcript.to_dict()


def run_upstream(model: whisper.Whisper, recording: Recording) -> dict[str, Any]:
    return dict(model.transcribe(read_samples(recording.samples_path), fp16=False))


def report(model_name: str, rows: list[Row]) -> str:
    scored = [row for row in rows if row.reference]
    references = [row.reference or "" for row in scored]
    ours = word_error_rate(references, [row.ours for row in scored])
    upstream = word_error_rate(references, [row.upstream for row in scored])
    seconds = sum(row.recording.seconds for row in rows)
    equal = sum(row.is_equal for row in rows)
    our_seconds, upstream_seconds = (
        sum(getattr(row, side) for row in rows) for side in ("our_seconds", "upstream_seconds")
    )
    return (
        f"| {model_name} | {len(rows)} | {seconds:.0f} s | {ours:.4f} | {upstream:.4f} | {equal} of {len(rows)} "
        f"| {seconds / our_seconds:.1f} | {seconds / upstream_seconds:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recordings", type=Path, default=ROOT / "tests" / "data")
    parser.add_argument("--models", nargs="+", default=["tiny.en", "base"])
    options = parser.parse_args()
    print(
        "| model | recordings | sound | WER, ours | WER, openai-whisper | identical transcripts | speed, ours | its |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        recordings = read_recordings(options.recordings, Path(scratch))
        for model_name in options.models:
            rows = compare(model_name, recordings, load_settings().models_dir)
            print(report(model_name, rows), flush=True)
            for row in rows:
                if not row.is_equal:
                    print(f"differs with {model_name}: {row.recording.name}", flush=True)


if __name__ == "__main__":
    main()
