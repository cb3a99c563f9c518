"""The batch engine's texts beside openai-whisper's functions on the same device, with real weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.child_process import Sound
from benchmarks.document import table
from benchmarks.measurement import Measurement
from benchmarks.recordings import Recording
from benchmarks.run_engine import make_engine, measure
from benchmarks.scores import normalised_error_rate, share_of_equal_segments, share_of_identical_texts
from whisper_core.text.options import TranscribeOptions

REFERENCE_ENGINE = "whisper_core.reference.engine:ReferenceEngine"
HEADS = (
    "",
    "segments equal",
    "texts identical",
    "WER, batch engine",
    "WER, reference engine",
    "RTFx",
    "RTFx reference",
)


def correctness_row(
    engine: str, model: str, models_dir: Path, recordings: Sequence[Recording], device: str
) -> list[str]:
    """All recordings at once against each alone. Raises TaskError's subclasses, ModelUnavailableError among them."""
    ours = _transcribed(engine, model, models_dir, recordings, device)
    reference = _transcribed(REFERENCE_ENGINE, model, models_dir, recordings, device)
    seconds = sum(recording.seconds for recording in recordings)
    return [
        model,
        f"{100 * share_of_equal_segments(ours.texts, reference.texts):.1f} %",
        f"{100 * share_of_identical_texts(ours.texts, reference.texts):.1f} %",
        f"{normalised_error_rate(recordings, ours.texts):.4f}",
        f"{normalised_error_rate(recordings, reference.texts):.4f}",
        f"{seconds / ours.seconds:.0f}",
        f"{seconds / reference.seconds:.0f}",
    ]


def correctness_table(rows: Sequence[Sequence[str]]) -> str:
    return table(HEADS, rows)


def _transcribed(
    engine: str, model: str, models_dir: Path, recordings: Sequence[Recording], device: str
) -> Measurement:
    made = make_engine(engine, device)
    made.load(model, models_dir)
    try:
        sounds = [Sound(recording.name, str(recording.samples_path)) for recording in recordings]
        return measure(made, model, sounds, TranscribeOptions())
    finally:
        made.unload(model)
