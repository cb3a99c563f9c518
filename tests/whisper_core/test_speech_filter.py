"""vad_filter: openai-whisper's own text of the speech alone, at the times where it is said; nothing of the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from whisper.model import Whisper

from tests.paths import MINUTE, SHORT
from tests.whisper_core.conftest import LoudScan
from tests.whisper_core.engine.driving import GREEDY, alone_by_reference, assert_same, toy, transcribe_together
from tests.whisper_core.parity import RATE, Samples, SamplesOf, noise, resume_after
from tests.whisper_core.scripted_model import EndlessError, ScriptedModel, answers_of, upstream_result
from whisper_core import speech_filter
from whisper_core.audio.log_mel import LogMel
from whisper_core.model_requests import DEFAULT_SETTINGS, Decode
from whisper_core.models.load import load_model
from whisper_core.reference.model import ReferenceModel
from whisper_core.speech_filter import FilteredRecording, transcribe_filtered
from whisper_core.speech_parts import SpeechParts, SpeechSamples
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Checkpoint, Segment, Transcript, WindowResult
from whisper_core.transcribe import ResumePoint

FRAME = RATE // 100
LADDER = TranscribeOptions(language="en", vad_filter=True)
WORDS = replace(LADDER, temperature=0.0, word_timestamps=True)
SPEECH = ((500, 1500), (1900, 1950), (3000, 5500), (5850, 5890))  # mel frames
RECORDING_S = 60

CASES = {
    "ladder": LADDER,
    "words": WORDS,
    "hallucinations": replace(WORDS, hallucination_silence_threshold=1.0),
    "clips": replace(WORDS, clip_timestamps="2,9,16,19.3,25,32.01,32.01,58"),
    "from a moment in a silence": replace(LADDER, clip_timestamps="17", condition_on_previous_text=False),
}


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speech is whatever is not silent."""
    monkeypatch.setattr(speech_filter, "SpeechScan", LoudScan)


def recording(speech: tuple[tuple[int, int], ...] = SPEECH) -> Samples:
    sound = noise(RECORDING_S)
    sound[sound == 0] = 1
    spoken = np.zeros(len(sound), np.int16)
    for start, end in speech:
        spoken[start * FRAME : end * FRAME] = sound[start * FRAME : end * FRAME]
    return spoken


def frames_of_speech(samples: Samples) -> npt.NDArray[np.int64]:
    """The frame of the recording that each frame of the speech alone is."""
    parts = FilteredRecording(samples, 80).parts
    return np.concatenate([np.arange(start, end) for start, end in parts.ranges])


def filtered(
    seed: int, samples: Samples, options: TranscribeOptions, resume: ResumePoint | None = None
) -> tuple[Transcript, list[WindowResult]]:
    windows: list[WindowResult] = []
    model = ScriptedModel(seed)
    serve = answers_of(model)
    transcript = transcribe_filtered(samples, model.traits, options, serve, resume=resume, on_window=windows.append)
    assert transcript is not None
    return transcript, windows


class MovedBack:
    """Times of the speech alone, moved to the recording frame by frame."""

    def __init__(self, frames: npt.NDArray[np.int64]) -> None:
        self._frames = frames

    def start(self, seconds: float) -> float:
        if seconds < 0:
            return int(self._frames[0]) / 100
        place = min(round(seconds * 100), len(self._frames))
        if place == len(self._frames):
            return (int(self._frames[-1]) + 1) / 100
        return round(seconds + (int(self._frames[place]) - place) / 100, 2)

    def end(self, seconds: float) -> float:
        place = min(round(seconds * 100), len(self._frames))
        if place <= 0:
            return self.start(seconds)
        moved = round(seconds + (int(self._frames[place - 1]) + 1 - place) / 100, 2)
        return min(moved, (int(self._frames[-1]) + 1) / 100)

    def word(self, word: dict[str, Any]) -> dict[str, Any]:
        middle = min(round((word["start"] / 2 + word["end"] / 2) * 100), len(self._frames) - 1)
        breaks = np.flatnonzero(np.diff(self._frames) != 1)
        first = max((int(each) + 1 for each in breaks if each < middle), default=0)
        last = min((int(each) for each in breaks if each >= middle), default=len(self._frames) - 1)
        bounds = int(self._frames[first]) / 100, (int(self._frames[last]) + 1) / 100
        shift = (int(self._frames[first]) - first) / 100
        times = {name: min(max(round(word[name] + shift, 2), bounds[0]), bounds[1]) for name in ("start", "end")}
        return {**word, **times}

    def times(self, start: float, end: float) -> tuple[float, float]:
        """Without up to 0.6 s before or after a cut."""
        places = np.arange(max(0, round(start * 100)), min(round(end * 100), len(self._frames)))
        cuts = np.flatnonzero(np.diff(self._frames[places]) != 1) + 1
        moved_start, moved_end = self.start(start), self.end(end)
        if len(cuts) and cuts[0] <= 60:
            moved_start = int(self._frames[places[cuts[0]]]) / 100
            cuts = cuts[1:]
        if len(cuts) and len(places) - cuts[-1] <= 60:
            moved_end = (int(self._frames[places[cuts[-1] - 1]]) + 1) / 100
        return moved_start, moved_end

    def segment(self, segment: dict[str, Any]) -> dict[str, Any]:
        start, end = self.times(segment["start"], segment["end"])
        moved = {**segment, "seek": int(self._frames[segment["seek"]])}
        if words := [self.word(word) for word in segment.get("words", ())]:
            start = words[0]["start"] if segment["words"][0]["start"] == segment["start"] else start
            end = words[-1]["end"] if segment["words"][-1]["end"] == segment["end"] else end
        if "words" in segment:
            moved["words"] = words
        return {**moved, "start": start, "end": max(start, end)}


def clips_among(frames: npt.NDArray[np.int64], clip_timestamps: str) -> str:
    """The clips' times among the speech alone: how much of it is before each."""
    times = [round(float(second) * 100) for second in clip_timestamps.split(",")]
    return ",".join(f"{np.count_nonzero(frames < time) / 100:.2f}" for time in times)


def expected_of(seed: int, samples: Samples, options: TranscribeOptions) -> dict[str, Any] | None:
    """whisper.transcribe's result of the speech alone, moved. None where it would never return."""
    frames = frames_of_speech(samples)
    speech = np.concatenate([samples[frame * FRAME : (frame + 1) * FRAME] for frame in frames])
    among = replace(options, clip_timestamps=clips_among(frames, options.clip_timestamps))
    try:
        result = upstream_result(ScriptedModel(seed), speech, among)
    except EndlessError:
        return None
    moved = MovedBack(frames)
    return {**result, "segments": [moved.segment(segment) for segment in result["segments"]], "precision": "fp32"}


def num_windows(result: dict[str, Any]) -> int:
    """Of those that brought text."""
    return len({segment["seek"] for segment in result["segments"]})


@pytest.mark.usefixtures("scanned")
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_the_text_is_upstream_s_of_the_speech_alone(options: TranscribeOptions) -> None:
    samples = recording()
    results = ((seed, expected_of(seed, samples, options)) for seed in range(20))
    seed, expected = next((seed, result) for seed, result in results if result and num_windows(result) > 1)
    ours, windows = filtered(seed, samples, options)
    assert ours.to_dict() == expected
    assert [segment for window in windows for segment in window.segments] == list(ours.segments)
    assert windows[-1].checkpoint.is_at_end


@pytest.mark.usefixtures("scanned")
@pytest.mark.parametrize("options", [WORDS, CASES["clips"]], ids=["words", "clips"])
def test_it_goes_on_after_a_restart(options: TranscribeOptions) -> None:
    samples, seed = recording(), 1
    whole, windows = filtered(seed, samples, options)
    for done in {1, len(windows) // 2, len(windows)}:
        assert filtered(seed, samples, options, resume_after(windows[:done])) == (whole, windows[done:])


@pytest.mark.usefixtures("scanned")
def test_checkpoints_tell_what_was_left_out_and_how_much_is_left() -> None:
    samples = recording()
    num_speech = len(frames_of_speech(samples))
    _, windows = filtered(0, samples, LADDER)
    checkpoints = [window.checkpoint for window in windows]
    assert all(0 < point.frames_left < num_speech for point in checkpoints[:-1] if point.frames_left is not None)
    for point in checkpoints:
        assert point.audio_decoded_seconds + point.audio_left_seconds == pytest.approx(num_speech / 100)
    assert (checkpoints[-1].progress, checkpoints[-1].audio_left_seconds) == (1.0, 0.0)


def asked_nothing(request: object) -> Any:
    raise AssertionError(f"the model was asked {request}")


def chord(seconds: float) -> Samples:
    """A melody of three voices with overtones, struck twice a second."""
    time = np.arange(round(seconds * RATE)) / RATE
    beat = (time * 2).astype(int)
    pitches = 220 * 2 ** (np.array([0, 4, 7, 12, 7, 4, 5, 9])[beat % 8] / 12)
    phase = 2 * np.pi * np.cumsum(pitches) / RATE
    waves = sum(np.sin(voice * phase) / voice for voice in (1, 2, 3, 1.25, 1.5))
    return np.rint(5000 * waves * np.exp(-3 * (time % 0.5))).astype(np.int16)


WITHOUT_SPEECH = {
    "nothing": np.zeros(0, np.int16),
    "less than a frame": np.full(100, 900, np.int16),
    "silence": np.zeros(40 * RATE, np.int16),
    "noise": (np.random.default_rng(0).standard_normal(40 * RATE) * 1500).astype(np.int16),
    "music": chord(40),
}


@pytest.mark.parametrize("name", WITHOUT_SPEECH)
def test_no_model_is_asked_where_nobody_speaks(name: str) -> None:
    """So no text can be made up, and no language either."""
    options, traits = TranscribeOptions(vad_filter=True), ScriptedModel(0).traits
    windows: list[WindowResult] = []
    ours = transcribe_filtered(WITHOUT_SPEECH[name], traits, options, asked_nothing, on_window=windows.append)
    assert (ours, windows) == (Transcript("", "", (), "fp32"), [])


@pytest.mark.usefixtures("scanned")
def test_the_batch_engine_does_so_beside_other_tasks(tmp_path: Path) -> None:
    samples = recording(((200, 400), (800, 950)))[: 12 * RATE]
    options = [replace(GREEDY, vad_filter=True), GREEDY]
    together = transcribe_together(toy(), [samples] * 2, options, DEFAULT_SETTINGS, tmp_path)
    reference = ReferenceModel(toy(), seed=0)
    expected = transcribe_filtered(samples, reference.traits, options[0], reference.serve, settings=DEFAULT_SETTINGS)
    assert expected is not None
    assert_same(together[0], expected)
    assert_same(together[1], alone_by_reference(toy(), samples, GREEDY, DEFAULT_SETTINGS))
    assert together[0] != together[1]


@pytest.mark.models
@pytest.mark.slow
def test_speech_between_silence_music_and_noise_is_all_that_is_written(
    models_dir: Path, samples_of: SamplesOf, tmp_path: Path
) -> None:
    """By both engines, where it is said."""
    model: Whisper = load_model("tiny.en", models_dir, "cpu")
    speech = samples_of(SHORT)
    samples = np.concatenate([WITHOUT_SPEECH["music"], speech, WITHOUT_SPEECH["silence"], WITHOUT_SPEECH["noise"]])
    options = TranscribeOptions(language="en", temperature=0.0, vad_filter=True)
    reference = ReferenceModel(model, seed=0)
    ours = transcribe_filtered(samples, reference.traits, options, reference.serve)
    assert ours is not None
    assert_same(transcribe_together(model, [samples], options, None, tmp_path)[0], ours)
    assert ours.text.startswith(" He was not an ")  # "ill-disposed" is beyond tiny.en
    assert ours.text.endswith(" young man.")
    assert len(ours.text.split()) <= 8
    assert all(39.5 <= segment.start < segment.end <= 44 for segment in ours.segments)


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_text_of_a_minute_with_silence_in_it_is_upstream_s_of_the_speech_alone(
    models_dir: Path, samples_of: SamplesOf
) -> None:
    model = load_model("tiny.en", models_dir, "cpu")
    minute = samples_of(MINUTE)
    samples = np.concatenate([minute[: 20 * RATE], WITHOUT_SPEECH["silence"], minute[20 * RATE :]])
    options = TranscribeOptions(language="en", temperature=0.0, vad_filter=True)
    reference = ReferenceModel(model, seed=0)
    ours = transcribe_filtered(samples, reference.traits, options, reference.serve)
    assert ours is not None
    parts = FilteredRecording(samples, 80).parts
    assert len(parts.ranges) >= 2
    speech = SpeechSamples(samples, parts)[:]
    theirs = model.transcribe(speech.astype(np.float32) / 32768.0, fp16=False, language="en", temperature=0.0)
    assert ours.text == theirs["text"]
    exact = ("tokens", "avg_logprob", "compression_ratio", "no_speech_prob")
    wanted = [[segment[name] for name in exact] for segment in theirs["segments"]]
    assert [[segment.to_dict()[name] for name in exact] for segment in ours.segments] == wanted
    assert not any(20.5 < segment.start < 59.5 for segment in ours.segments)


# --- where the parts begin and end ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("speech", "ranges"),
    [
        ([], ()),
        ([(0, 10)], ((0, 50),)),
        ([(100, 200), (399, 500)], ((60, 540),)),
        ([(100, 200), (400, 500)], ((60, 240), (360, 540))),
        ([(100, 200), (990, 1000)], ((60, 240), (950, 1000))),
    ],
)
def test_short_silence_stays(speech: list[tuple[int, int]], ranges: tuple[tuple[int, int], ...]) -> None:
    assert SpeechParts.around(speech, 1000).ranges == ranges


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 9.0, (1.0, 10.0)),
        (9.5, 12.0, (30.0, 32.0)),  # after the last word before the silence
        (9.3, 12.0, (10.3, 32.0)),
        (2.0, 10.5, (3.0, 11.0)),  # before the first word after it
        (2.0, 10.7, (3.0, 30.7)),
        (9.6, 10.4, (30.0, 30.4)),
        (15.0, 25.0, (35.0, 40.0)),  # into the silence that follows
    ],
)
def test_no_text_is_shown_through_a_silence_that_it_hardly_reaches(
    start: float, end: float, expected: tuple[float, float]
) -> None:
    parts = SpeechParts(((100, 1100), (3000, 4000)), 6000)
    segment = Segment(0, 0, start, end, " Hello.", (), 0.0, 0.0, 1.0, 0.0)
    (moved,) = parts.moved_window(WindowResult(0, (segment,), Checkpoint("en", 2000, 2000))).segments
    assert (moved.start, moved.end) == expected


def test_a_place_among_the_speech_and_its_frame_are_told_from_each_other() -> None:
    parts = SpeechParts(((10, 20), (50, 60), (99, 100)), 120)
    frames = [*range(10, 20), *range(50, 60), 99]
    assert [parts.frame_of(place) for place in range(21)] == frames
    assert [parts.place_of(frame) for frame in frames] == list(range(21))
    assert [parts.place_of(frame) for frame in (0, 20, 49, 100, 120)] == [0, 10, 10, 21, 21]
    assert (parts.frame_of(21), parts.frame_of(30)) == (120, 120)


def test_the_speech_alone_is_read_as_if_it_were_a_recording() -> None:
    samples = np.arange(120 * FRAME, dtype=np.int16)
    parts = SpeechParts(((10, 20), (50, 60), (99, 100)), 120)
    alone = np.concatenate([samples[start * FRAME : end * FRAME] for start, end in parts.ranges])
    read = SpeechSamples(samples, parts)
    random = np.random.default_rng(0)
    assert len(read) == len(alone)
    for start, stop in random.integers(0, len(alone) + 200, (200, 2)).tolist():
        assert np.array_equal(read[start:stop], alone[start:stop])


@pytest.mark.usefixtures("scanned")
def test_it_is_read_in_parts_before_the_first_window() -> None:
    samples = recording()
    whole, in_parts = FilteredRecording(samples, 80), FilteredRecording(samples, 80)
    whole.prepare()
    left = [in_parts.frames_left]
    while not in_parts.prepare(2000):
        left.append(in_parts.frames_left)
    assert left == [6000, 4000, 2000, 3922, 922]
    assert in_parts.frames_left == 0
    assert in_parts.parts == whole.parts
    speech = LogMel(SpeechSamples(samples, whole.parts), 80)
    assert np.array_equal(in_parts.mel.window(0, 3000).tensor(), speech.window(0, 3000).tensor())


@pytest.mark.usefixtures("scanned")
def test_sampling_differs_from_window_to_window() -> None:
    model = ScriptedModel(0)
    answer, seeks = answers_of(model), []

    def serve(request: Any) -> Any:
        if isinstance(request, Decode):
            seeks.append(request.seek)
        return answer(request)

    transcribe_filtered(recording(), model.traits, replace(LADDER, temperature=0.5), serve)
    assert len(set(seeks)) == len(seeks) > 1
