"""The batch engine's texts beside openai-whisper's functions on the same device, with real weights and real speech.

Sixteen recordings at once, each compared with itself alone: with the kernels and with torch's functions, with one
recording that falls back to every temperature, with beams, and without CUDA graphs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

from benchmarks.child_process import Sound
from benchmarks.gpu_models import random_one
from benchmarks.gpu_part import Cell, Part
from benchmarks.gpu_speed import noise
from benchmarks.gpu_timeline import DirectLaunch, launched_by
from benchmarks.measurement import Measurement, Text
from benchmarks.random_model import OPTIONS, loaded_from_memory
from benchmarks.recordings import Recording, one_minute_recordings, read_recordings
from benchmarks.run_engine import BATCH_ENGINE, make_engine, measure
from benchmarks.scores import normalised_error_rate, share_of_equal_segments, share_of_identical_texts
from config import load_settings
from errors import ModelUnavailableError
from whisper_core.engine import loaded_model
from whisper_core.engine.decoding.cuda_graphs import new_launch
from whisper_core.engine.decoding.step_kernels import TORCH_KERNELS
from whisper_core.text.options import TranscribeOptions
from whisper_core.worker.engine_protocol import Engine

REFERENCE_ENGINE = "whisper_core.reference.engine:ReferenceEngine"
MODELS = ("tiny.en", "base")
RECORDINGS, WITH_BEAMS = 16, 4
TRIAL_RECORDINGS = 2
BEAMS = 5
NEVER_GOOD_ENOUGH = 0.0  # a mean logprob that no text has
TEXTS = "Texts beside openai-whisper's functions on the same device, one recording alone each"
KERNELS = "Texts by the kernels beside those by torch's functions"

Options = TranscribeOptions | list[TranscribeOptions]


def measure_texts(part: Part) -> None:
    recordings = recordings_of(part)
    for name in MODELS[:1] if part.is_trial else MODELS:
        with available(part, name):
            try:
                TextsOf(part, name, recordings).measure()
            except ModelUnavailableError as error:
                part.report.text(f"Left out: {error}")


def recordings_of(part: Part) -> list[Recording]:
    if not part.is_trial:
        return one_minute_recordings(read_recordings(part.recordings, part.scratch), RECORDINGS, part.scratch)
    paths = [noise(part.scratch, 1, seed) for seed in range(TRIAL_RECORDINGS)]
    return [Recording(path.name, path, path, 30.0, "en", None, (path.name,)) for path in paths]


@contextmanager
def available(part: Part, name: str) -> Iterator[None]:
    """Real weights; in a trial, random ones in the place of a file's."""
    with ExitStack() as stack:
        if part.is_trial:
            model = random_one(part, name)
            for engine in (BATCH_ENGINE, REFERENCE_ENGINE):
                stack.enter_context(loaded_from_memory(engine, {name: model}))
        yield


@dataclass
class TextsOf:
    """One model."""

    part: Part
    name: str
    recordings: Sequence[Recording]

    def measure(self) -> None:
        plain = OPTIONS if self.part.is_trial else TranscribeOptions()
        falling_back = [replace(plain, temperature=None, logprob_threshold=NEVER_GOOD_ENOUGH)]
        beams = replace(plain, beam_size=BEAMS)
        few, first = self.recordings[:WITH_BEAMS], self.recordings[:1]

        with self._loaded(REFERENCE_ENGINE) as engine:
            alone = self._transcribed(engine, self.recordings, plain)
            fallen_back = self._transcribed(engine, first, falling_back)
        with self._loaded(BATCH_ENGINE) as engine:
            self._transcribed(engine, self.recordings, plain)  # warms it up
            together = self._transcribed(engine, self.recordings, plain)
            self._row("with kernels", self.recordings, together, alone)
            mixed = self._transcribed(engine, self.recordings, falling_back + [plain] * (len(self.recordings) - 1))
            self._row("beside one that falls back", self.recordings[1:], mixed, alone)
            self._row("the one that falls back", first, mixed, fallen_back)
            searched = self._transcribed(engine, few, beams)
        if self._has_time_for("torch's functions", alone):
            with torch_functions(), self._loaded(BATCH_ENGINE) as engine:
                by_torch = self._transcribed(engine, self.recordings, plain)
            self._row("with torch's functions", self.recordings, by_torch, alone)
            self._row_of(KERNELS, "with kernels", self.recordings, together, by_torch)
        if self.name == MODELS[0] and self._has_time_for("no graphs", alone):
            with self._loaded(BATCH_ENGINE, has_graphs=False) as engine:
                without = self._transcribed(engine, self.recordings, plain)
            self._row("without CUDA graphs", self.recordings, without, alone)
        if self._has_time_for("beams alone", alone):
            with self._loaded(REFERENCE_ENGINE) as engine:
                self._row(f"with {BEAMS} beams", few, searched, self._transcribed(engine, few, beams))

    def _has_time_for(self, what: str, alone: Measurement) -> bool:
        """None of these takes longer than all recordings alone."""
        is_enough = self.part.budget.allows(alone.seconds + 5)
        if not is_enough:
            self.part.report.left_out(f"{self.name}, {what}")
        return is_enough

    @contextmanager
    def _loaded(self, path: str, *, has_graphs: bool = True) -> Iterator[Engine]:
        """An engine with the model. Raises TaskError's subclasses, ModelUnavailableError among them."""

        is_trial = self.part.is_trial
        with launched_by(new_launch if has_graphs and not is_trial else DirectLaunch, is_trial):
            engine = make_engine(path, self.part.device)
            engine.load(self.name, load_settings().models_dir.resolve())
            try:
                yield engine
            finally:
                engine.unload(self.name)

    def _transcribed(self, engine: Engine, recordings: Sequence[Recording], options: Options) -> Measurement:
        sounds = [Sound(recording.name, str(recording.samples_path)) for recording in recordings]
        return measure(engine, self.name, sounds, options)

    def _row(self, how: str, recordings: Sequence[Recording], ours: Measurement, theirs: Measurement) -> None:
        self._row_of(TEXTS, how, recordings, ours, theirs)

    def _row_of(
        self, title: str, how: str, recordings: Sequence[Recording], ours: Measurement, theirs: Measurement
    ) -> None:
        self.part.report.row(title, {"": f"{self.name}, {how}", **compared(recordings, ours, theirs)})


def compared(recordings: Sequence[Recording], ours: Measurement, theirs: Measurement) -> dict[str, Cell]:
    """Of these recordings only; the speed is that of all that ran together with them."""
    mine = {recording.name: ours.texts[recording.name] for recording in recordings}
    others = {recording.name: theirs.texts[recording.name] for recording in recordings}
    return {
        "recordings": len(recordings),
        "segments equal, %": 100 * share_of_equal_segments(mine, others),
        "texts that differ": round(len(recordings) * (1 - share_of_identical_texts(mine, others))),
        "WER": _error_rate(recordings, mine),
        "WER beside": _error_rate(recordings, others),
        "fell back": ours.fallbacks,
        "s": ours.seconds,
        "s beside": theirs.seconds,
    }


def _error_rate(recordings: Sequence[Recording], texts: dict[str, Text]) -> float | None:
    """None where nobody wrote down what is said."""
    rate = normalised_error_rate(recordings, texts)
    return None if rate != rate else rate


@contextmanager
def torch_functions() -> Iterator[None]:
    """Models that are loaded inside are computed by torch's functions."""
    with patch.object(loaded_model, "step_kernels_for", lambda dims: TORCH_KERNELS):
        yield
