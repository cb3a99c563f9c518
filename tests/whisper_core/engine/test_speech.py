"""Real speech with real weights: in a batch of any size, every recording's transcript is openai-whisper's own.

The recordings in tests/data; among the slow tests also those of the folder that SPEECH_DIR names, or ../shared/speech.
The expected transcripts come from upstream's decoding, reseeded for every window; test_transcribe_speech.py
compares that with `whisper.transcribe`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import jiwer
import pytest
from whisper.model import Whisper

from tests.paths import DATA, MODELS_DIR, ROOT
from tests.whisper_core.engine.driving import (
    Observer,
    alone_by_reference,
    assert_same,
    engine_with,
    run_until_idle,
    start_task,
    transcribe_together,
    write_samples,
)
from tests.whisper_core.parity import Samples, SamplesOf
from whisper_core.engine.batch_engine import BatchEngine
from whisper_core.engine.network.int8 import Int8Linear, Int8Matrix
from whisper_core.engine.network.projection import Int8Projection
from whisper_core.model_requests import DEFAULT_SETTINGS, DecodeSettings
from whisper_core.models.load import load_model
from whisper_core.models.weight_files import locate
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript

pytestmark = pytest.mark.models

SPEECH_DIR = Path(os.environ.get("SPEECH_DIR", ROOT.parent / "shared" / "speech"))
RECORDINGS = sorted(DATA.glob("*.flac"))
ALL_RECORDINGS = sorted({path.name: path for folder in (DATA, SPEECH_DIR) for path in folder.glob("*.flac")}.values())
NOT_ENGLISH = ("spanish", "italian")
TWO_WINDOWS = 33 * 16_000  # samples
CORES = os.cpu_count() or 1

PLAIN = TranscribeOptions()
WORDS = TranscribeOptions(word_timestamps=True)


@dataclass
class Speech:
    """A model, recordings for it, and what upstream makes of each, worked out once for each of the options."""

    model: Whisper
    recordings: list[Samples]
    _expected: dict[tuple[TranscribeOptions, DecodeSettings], list[Transcript]] = field(default_factory=dict)

    def expected(self, options: TranscribeOptions, settings: DecodeSettings = DEFAULT_SETTINGS) -> list[Transcript]:
        if (options, settings) not in self._expected:
            self._expected[options, settings] = [
                alone_by_reference(self.model, samples, options, settings) for samples in self.recordings
            ]
        return self._expected[options, settings]

    def check(
        self,
        options: TranscribeOptions,
        folder: Path,
        settings: DecodeSettings = DEFAULT_SETTINGS,
        *,
        slots: int = 16,
        is_reversed: bool = False,
    ) -> None:
        order = list(range(len(self.recordings)))[:: -1 if is_reversed else 1]
        recordings = [self.recordings[number] for number in order]
        together = transcribe_together(self.model, recordings, options, settings, folder, slots=slots, cores=CORES)
        for number, ours in zip(order, together, strict=True):
            assert_same(ours, self.expected(options, settings)[number])


def speech_for(name: str, paths: list[Path], samples_of: SamplesOf) -> Speech:
    if locate(name, MODELS_DIR) is None:
        pytest.skip(f"{name} is not here: set-up fetches it")
    model = load_model(name, MODELS_DIR, "cpu")
    understood = [path for path in paths if model.is_multilingual or not any(word in path.name for word in NOT_ENGLISH)]
    return Speech(model, [samples_of(path) for path in understood])


@pytest.fixture(scope="module")
def tiny_en(models_dir: Path, samples_of: SamplesOf) -> Speech:
    speech = speech_for("tiny.en", RECORDINGS, samples_of)
    speech.recordings = [samples[:TWO_WINDOWS] for samples in speech.recordings]
    return speech


@pytest.fixture(scope="module")
def few(tiny_en: Speech) -> Speech:
    """The shortest three."""
    return Speech(tiny_en.model, sorted(tiny_en.recordings, key=len)[:3])


@pytest.fixture(scope="module", params=["tiny.en", "base"])
def everything(request: pytest.FixtureRequest, samples_of: SamplesOf) -> Speech:
    return speech_for(request.param, ALL_RECORDINGS, samples_of)


@pytest.fixture(scope="module")
def base(samples_of: SamplesOf) -> Speech:
    foreign = [path for path in ALL_RECORDINGS if any(word in path.name for word in NOT_ENGLISH)]
    return speech_for("base", foreign, samples_of)


def test_tiny_en_in_one_batch(tiny_en: Speech, tmp_path: Path) -> None:
    tiny_en.check(PLAIN, tmp_path)
    assert all(len(transcript.text) > 20 for transcript in tiny_en.expected(PLAIN))


def test_tiny_en_with_a_prompt_in_two_slots(few: Speech, tmp_path: Path) -> None:
    few.check(replace(PLAIN, initial_prompt="Names: Allison, Asterisk."), tmp_path, slots=2)


@pytest.mark.slow
def test_all_recordings_with_a_prompt_in_two_slots(tiny_en: Speech, tmp_path: Path) -> None:
    tiny_en.check(replace(PLAIN, initial_prompt="Names: Allison, Asterisk."), tmp_path, slots=2)


def test_int8_hears_nearly_the_same_words(tiny_en: Speech, tmp_path: Path) -> None:
    heard = transcribe_together(
        tiny_en.model, tiny_en.recordings, PLAIN, DEFAULT_SETTINGS, tmp_path, name="tiny.en-int8", cores=CORES
    )
    exact = [transcript.text for transcript in tiny_en.expected(PLAIN)]
    assert jiwer.wer(exact, [transcript.text for transcript in heard]) < 0.05
    assert [transcript.precision for transcript in heard] == ["int8"] * len(exact)


def test_an_int8_model_as_it_is_loaded_from_its_file(tiny_en: Speech, tmp_path: Path) -> None:
    engine = BatchEngine("cpu", CORES)
    observer = Observer()
    try:
        engine.load("tiny.en-int8", MODELS_DIR)
        model = engine._models["tiny.en-int8"].model
        start_task(
            engine, write_samples(tmp_path / "0.pcm", tiny_en.recordings[0]), WORDS, observer, model="tiny.en-int8"
        )
        run_until_idle(engine)
    finally:
        engine.close()
    block = model.decoder.layers.blocks[0]
    assert all(
        isinstance(each, Int8Linear) for each in (model.decoder.layers.vocabulary, block.mlp_in, block.cross_query)
    )
    assert isinstance(model.encoder._blocks[0].query_key_value, Int8Matrix)
    assert all(isinstance(each, Int8Projection) for each in model.encoder._projections)
    assert observer.transcript is not None
    assert jiwer.wer(tiny_en.expected(PLAIN)[0].text, observer.transcript.text) < 0.1
    words = [word for segment in observer.transcript.segments for word in segment.words or ()]
    assert "".join(word.word for word in words).split() == observer.transcript.text.split()
    assert all(0 <= word.start <= word.end for word in words)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("slots", "is_reversed"), [(16, False), (7, True), (2, False), (1, False)])
def test_all_speech_in_batches_of_every_size(everything: Speech, slots: int, is_reversed: bool, tmp_path: Path) -> None:
    everything.check(PLAIN, tmp_path, slots=slots, is_reversed=is_reversed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_speech_while_others_are_cancelled(everything: Speech, tmp_path: Path) -> None:
    """Every recording twice; one of the two is stopped after its first window."""
    observers = [Observer() for _ in everything.recordings]
    with engine_with(everything.model, slots=7, cores=CORES) as engine:
        for number, (samples, observer) in enumerate(zip(everything.recordings, observers, strict=True)):
            path = write_samples(tmp_path / f"{number}.pcm", samples)
            start_task(engine, path, PLAIN, Observer(stops_after=1))
            start_task(engine, path, PLAIN, observer)
        run_until_idle(engine)
    for observer, expected in zip(observers, everything.expected(PLAIN), strict=True):
        assert observer.transcript is not None
        assert_same(observer.transcript, expected)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_tiny_en_with_word_timestamps(tiny_en: Speech, tmp_path: Path) -> None:
    tiny_en.check(WORDS, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_tiny_en_with_five_beams(tiny_en: Speech, tmp_path: Path) -> None:
    tiny_en.check(PLAIN, tmp_path, DecodeSettings(beam_size=5))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_base_hears_the_language_and_translates(base: Speech, tmp_path: Path) -> None:
    base.check(PLAIN, tmp_path)
    assert [transcript.language for transcript in base.expected(PLAIN)] == ["it", "es"][-len(base.recordings) :]
    base.check(replace(PLAIN, task="translate"), tmp_path)
