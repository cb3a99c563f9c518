"""mode=vad: chunks are decoded in any order, alone or interleaved, with one and the same result.

Random weights for the rules, scripted answers where a rule needs a certain text, and real speech for the text itself.
Where no real voice is heard, speech is whatever is not silent.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jiwer
import numpy as np
import pytest
from whisper.normalizers import EnglishTextNormalizer

from errors import BadRecordError, EngineError
from tests.whisper_core.parity import RATE, Samples, SamplesOf, noise, short_toy
from whisper_core.chunked import ChunkedTranscription, ChunkStream, transcribe_chunked
from whisper_core.model_requests import Align, Decode, Decoded, DecodeSettings, DetectLanguage, Encode, Request
from whisper_core.models.load import load_model
from whisper_core.reference.model import ReferenceModel
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.transcribe import ResumePoint

GREEDY = TranscribeOptions(language="en", temperature=0.0, mode="vad")
DETECTED = replace(GREEDY, language=None)
LADDER = replace(GREEDY, temperature=None, initial_prompt="Names: Ann.")
TWO_STEPS = DecodeSettings(temperatures=(0.0, 0.8))
WORDS = replace(GREEDY, word_timestamps=True)
PLAIN = DecodeSettings()

WINDOW = 4  # frames: speech is told in steps of 32 ms

Serve = Callable[[Request], Any]


@pytest.fixture(autouse=True)
def _loud_scan(request: pytest.FixtureRequest) -> None:
    if "models" not in request.keywords:
        request.getfixturevalue("loud_scan")


def with_pauses(*seconds: float, seed: int = 0) -> Samples:
    """Noise, silence, noise, …: of these lengths."""
    loud = np.maximum(np.abs(noise(sum(seconds), seed)), 1)
    start = 0
    for number, length in enumerate(seconds):
        stop = start + round(length * RATE)
        if number % 2:
            loud[start:stop] = 0
        start = stop
    return loud


FOUR_CHUNKS = with_pauses(7, 22, 6, 25, 5, 26, 3, 0)


class Remembering:
    """A model's answers, each worked out once: a recording is gone through many times here."""

    def __init__(self, model: ReferenceModel) -> None:
        self._model = model
        self._answers: dict[Any, Any] = {}
        self.traits = model.traits

    def serve(self, request: Request) -> Any:
        match request:
            case Encode(mel):
                key: Any = mel.tensor().numpy().tobytes()
            case Align(mel):
                key = (mel.tensor().numpy().tobytes(), request.segments)
            case DetectLanguage(features):
                key = id(features)  # which is remembered too
            case Decode(features):
                key = replace(request, features=id(features))
        if key not in self._answers:
            self._answers[key] = self._model.serve(request)
        return self._answers[key]


@pytest.fixture(scope="module")
def remembering() -> Remembering:
    return Remembering(ReferenceModel(short_toy(13), seed=7))


def transcribed(
    serve: Serve,
    samples: Samples,
    options: TranscribeOptions,
    settings: DecodeSettings = PLAIN,
    *,
    model: ReferenceModel | Remembering,
    resume: ResumePoint | None = None,
) -> tuple[Transcript, list[WindowResult]]:
    windows: list[WindowResult] = []
    transcript = transcribe_chunked(
        samples, model.traits, options, serve, settings=settings, resume=resume, on_window=windows.append
    )
    assert transcript is not None
    before = () if resume is None else resume.segments
    assert transcript.segments == (*before, *(segment for window in windows for segment in window.segments))
    return transcript, windows


def in_random_order(
    samples: Samples, options: TranscribeOptions, settings: DecodeSettings, model: Remembering, seed: int
) -> tuple[Transcript, list[WindowResult]]:
    """Up to three streams at a time; whose request is served next is decided by chance."""
    chance = random.Random(seed)
    transcription = ChunkedTranscription(samples, model.traits, options, settings=settings)
    running: list[tuple[ChunkStream, Any]] = []
    windows: list[WindowResult] = []
    while not transcription.is_complete:
        stream = transcription.next_stream() if len(running) < 3 else None
        if stream is not None:
            running.append((stream, None))
        if running and (stream is None or chance.random() < 0.5):
            stream, answer = running.pop(chance.randrange(len(running)))
            with suppress(StopIteration):
                running.append((stream, model.serve(stream.send(answer))))
        windows.extend(transcription.finished_windows())
    assert not running
    return transcription.transcript(), windows


@pytest.mark.usefixtures("alignment")
@pytest.mark.parametrize(
    ("options", "settings"),
    [(DETECTED, PLAIN), (LADDER, TWO_STEPS), (WORDS, PLAIN)],
    ids=["detected", "ladder", "words"],
)
def test_any_order_gives_the_same_text(
    options: TranscribeOptions, settings: DecodeSettings, remembering: Remembering
) -> None:
    expected = transcribed(remembering.serve, FOUR_CHUNKS, options, settings, model=remembering)
    assert len(expected[1]) == 4
    for seed in range(8):
        assert in_random_order(FOUR_CHUNKS, options, settings, remembering, seed) == expected


@pytest.mark.usefixtures("alignment")
@pytest.mark.parametrize(
    ("options", "settings"),
    [(DETECTED, PLAIN), (LADDER, TWO_STEPS), (WORDS, PLAIN)],
    ids=["detected", "ladder", "words"],
)
def test_resuming_after_any_chunk_ends_as_an_uninterrupted_run(
    options: TranscribeOptions, settings: DecodeSettings, remembering: Remembering
) -> None:
    model = remembering
    whole, windows = transcribed(model.serve, FOUR_CHUNKS, options, settings, model=model)
    for done in range(1, len(windows) + 1):
        saved = [WindowResult.from_dict(window.to_dict()) for window in windows[:done]]
        segments = tuple(segment for window in saved for segment in window.segments)
        resume = ResumePoint(saved[-1].checkpoint, segments, saved[-1].index + 1)
        again = transcribed(model.serve, FOUR_CHUNKS, options, settings, model=model, resume=resume)
        assert again == (whole, windows[done:])


@pytest.mark.usefixtures("alignment")
def test_times_numbers_and_words_are_the_recording_s(remembering: Remembering) -> None:
    transcript, windows = transcribed(remembering.serve, FOUR_CHUNKS, WORDS, model=remembering)
    assert [segment.id for segment in transcript.segments] == list(range(len(transcript.segments)))
    assert [window.index for window in windows] == [0, 1, 2, 3]
    assert [window.checkpoint.seek for window in windows] == [
        pytest.approx(end, abs=WINDOW) for end in (720, 3520, 6520, 9400)
    ]
    assert windows[-1].checkpoint.seek == windows[-1].checkpoint.content_frames
    starts = [0, 2880, 5980, 9080]
    for window, start in zip(windows, starts, strict=True):
        assert window.segments[0].seek == pytest.approx(start, abs=WINDOW)
        for segment in window.segments:
            ends = [(segment.start, segment.end), *((word.start, word.end) for word in segment.words or ())]
            assert all(start / 100 - 0.1 <= time <= window.checkpoint.seek / 100 for pair in ends for time in pair)
    assert any(segment.words for segment in transcript.segments)


def test_windows_wait_for_those_before_them() -> None:
    model = ReferenceModel(short_toy(2), seed=0)
    transcription = ChunkedTranscription(FOUR_CHUNKS, model.traits, GREEDY)
    streams = [stream for stream in (transcription.next_stream() for _ in range(5)) if stream is not None]
    assert (len(streams), transcription.next_stream()) == (4, None)
    returned = []
    for stream in (streams[2], streams[0], streams[3], streams[1]):
        run(stream, model.serve)
        returned.append([window.index for window in transcription.finished_windows()])
        assert transcription.is_complete == (len(returned) == 4)
    assert returned == [[], [0], [], [1, 2, 3]]
    assert transcription.finished_windows() == []


def run(stream: ChunkStream, serve: Serve) -> None:
    answer = None
    while True:
        try:
            answer = serve(stream.send(answer))
        except StopIteration:
            return


class Script:
    """Answers decodings with given texts, of which a number is seconds and a word is text, and keeps the requests."""

    def __init__(self, model: ReferenceModel, *texts: tuple[float | str, ...], language: str = "en") -> None:
        self._tokenizer = model.traits.tokenizer("en", "transcribe")
        self._texts = list(texts)
        self._language = language
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Any:
        self.requests.append(request)
        match request:
            case DetectLanguage():
                return self._language
            case Decode():
                return Decoded(tuple(self._tokens(self._texts.pop(0))), request.temperature, -0.1, 1.0, 0.0)
        return None

    def decodings(self) -> list[Decode]:
        return [request for request in self.requests if isinstance(request, Decode)]

    def _tokens(self, text: tuple[float | str, ...]) -> list[int]:
        begin = self._tokenizer.timestamp_begin
        parts = [self._tokenizer.encode(part) if isinstance(part, str) else [begin + round(part * 50)] for part in text]
        return [token for part in parts for token in part]


@pytest.fixture(scope="module")
def toy() -> ReferenceModel:
    return ReferenceModel(short_toy(1), seed=0)


def test_what_follows_the_last_timestamp_is_heard_again(toy: ReferenceModel) -> None:
    script = Script(toy, (0.0, " one", 5.0, 5.0, " and tw"), (0.0, " and two", 9.0))
    transcript, windows = transcribed(script, with_pauses(0, 4.8, 14), GREEDY, model=toy)
    assert transcript.text == " one and two"
    assert [(segment.start, segment.end, segment.text) for segment in transcript.segments] == [
        (4.6, 9.6, " one"),
        (9.6, 18.6, " and two"),
    ]
    assert [decoding.seek for decoding in script.decodings()] == [460, 960]
    assert len(windows) == 1


def test_within_a_chunk_the_text_before_is_a_hint_and_between_chunks_it_is_not(toy: ReferenceModel) -> None:
    options = replace(GREEDY, initial_prompt="Ann.")
    script = Script(toy, (0.0, " one", 5.0, 5.0, " tw"), (0.0, " two", 9.0), (0.0, " three", 5.0))
    transcribed(script, with_pauses(14, 25, 5), options, model=toy)
    tokenizer = toy.traits.tokenizer("en", "transcribe")
    hints = [tokenizer.decode(list(decoding.prompt)) for decoding in script.decodings()]
    assert hints == [" Ann.", " Ann. one", " Ann."]


def test_speech_is_heard_again_that_a_model_says_is_not_there(toy: ReferenceModel) -> None:
    """It ended the window after the first sentence, with one timestamp, behind which exact mode expects nothing."""
    script = Script(toy, (0.0, " one", 5.0), (0.0, " two", 4.4), (0.0, " three", 6.2))
    transcript, windows = transcribed(script, with_pauses(5, 1, 4, 1, 6), GREEDY, model=toy)
    assert [(segment.id, segment.start, segment.text) for segment in transcript.segments] == [
        (0, 0.0, " one"),
        (1, pytest.approx(5.8, abs=0.05), " two"),
        (2, pytest.approx(10.8, abs=0.05), " three"),
    ]
    assert len(windows) == 1


def test_a_little_speech_behind_the_last_timestamp_is_not_missed(toy: ReferenceModel) -> None:
    script = Script(toy, (0.0, " one", 9.2))
    transcript, _ = transcribed(script, with_pauses(10), GREEDY, model=toy)
    assert transcript.text == " one"


def test_a_window_that_gets_nowhere_is_left_behind(toy: ReferenceModel) -> None:
    script = Script(toy, (0.0, " one", 0.2))
    transcript, _ = transcribed(script, with_pauses(10), GREEDY, model=toy)
    assert transcript.text == " one"


def test_nothing_is_heard_again_when_only_silence_follows(toy: ReferenceModel) -> None:
    script = Script(toy, (0.0, " one", 5.0, 5.0))
    transcript, _ = transcribed(script, with_pauses(5, 5), GREEDY, model=toy)
    assert (transcript.text, len(script.decodings())) == (" one", 1)


def test_what_a_model_places_behind_a_chunk_is_moved_to_its_end(toy: ReferenceModel) -> None:
    script = Script(toy, (0.0, " one", 12.0))
    transcript, _ = transcribed(script, with_pauses(4.8, 5), GREEDY, model=toy)
    assert [(segment.start, segment.end) for segment in transcript.segments] == [(0.0, 5.0)]


def test_silence_follows_a_chunk(toy: ReferenceModel) -> None:
    """Not the next chunk's sound, nor the zeros of exact mode."""
    script = Script(toy, (0.0, " one", 21.0), (0.0, " two", 20.0))
    transcribed(script, with_pauses(21, 0.2, 20), GREEDY, model=toy)
    encode = script.requests[0]
    assert isinstance(encode, Encode)
    mel = encode.mel.tensor()
    assert mel[:, :2100].unique().numel() > 1000
    (silence,) = mel[:, 2130:].unique().tolist()
    assert silence == mel.min().item() != 0


def test_the_language_is_heard_once_in_the_first_speech(toy: ReferenceModel) -> None:
    script = Script(toy, (0.0, " uno", 5.0), (0.0, " dos", 5.0), language="es")
    transcription = ChunkedTranscription(with_pauses(0, 40, 5, 40, 5), toy.traits, DETECTED)
    first = transcription.next_stream()
    assert first is None, "the first half minute has no speech"
    first = transcription.next_stream()
    assert first is not None
    assert transcription.next_stream() is None, "the language is not known yet"
    run(first, script)
    while not transcription.is_complete:
        stream = transcription.next_stream()
        if stream is not None:
            run(stream, script)
        transcription.finished_windows()
    assert transcription.transcript().language == "es"
    assert [decoding.language for decoding in script.decodings()] == ["es", "es"]
    assert sum(isinstance(request, DetectLanguage) for request in script.requests) == 1


def test_an_english_model_hears_english() -> None:
    model = ReferenceModel(short_toy(4, is_multilingual=False), seed=0)
    transcript, _ = transcribed(model.serve, with_pauses(3), DETECTED, model=model)
    assert transcript.language == "en"


def test_translation_and_the_chosen_settings_reach_the_model(toy: ReferenceModel) -> None:
    script = Script(toy, (0.0, " one", 3.0))
    options = replace(GREEDY, task="translate", language="it", temperature=0.4)
    transcribed(script, with_pauses(3), options, TWO_STEPS, model=toy)
    (decoding,) = script.decodings()
    assert (decoding.task, decoding.language, decoding.temperature) == ("translate", "it", 0.4)
    assert decoding.settings is TWO_STEPS


@pytest.mark.parametrize("samples", [with_pauses(), with_pauses(0, 0.0001), with_pauses(0, 0.1), with_pauses(0, 100)])
def test_a_recording_without_speech_has_an_empty_text(toy: ReferenceModel, samples: Samples) -> None:
    script = Script(toy)
    assert transcribed(script, samples, GREEDY, model=toy) == (Transcript("", "en", ()), [])
    assert transcribed(script, samples, DETECTED, model=toy) == (Transcript("", "", ()), [])
    assert script.requests == []


def test_a_chunk_that_the_model_calls_silent_has_no_segments(toy: ReferenceModel) -> None:
    settings = DecodeSettings(no_speech_threshold=0.0, logprob_threshold=None)
    transcript, windows = transcribed(toy.serve, FOUR_CHUNKS, GREEDY, settings, model=toy)
    assert transcript == Transcript("", "en", ())
    assert [window.segments for window in windows] == [()] * 4


def test_sampling_differs_from_chunk_to_chunk(toy: ReferenceModel) -> None:
    script = Script(toy, *[(0.0, " one", 7.0)] * 4)
    transcribed(script, FOUR_CHUNKS, GREEDY, model=toy)
    assert len({decoding.seek for decoding in script.decodings()}) == 4


def test_it_stops_between_two_chunks(toy: ReferenceModel) -> None:
    script = Script(toy, *[(0.0, " one", 7.0)] * 4)
    stopped = transcribe_chunked(
        FOUR_CHUNKS, toy.traits, GREEDY, script, should_stop=lambda: len(script.decodings()) >= 2
    )
    assert (stopped, len(script.decodings())) == (None, 2)


def test_a_checkpoint_of_another_recording_is_refused(toy: ReferenceModel) -> None:
    _, windows = transcribed(Script(toy, (0.0, " one", 3.0)), with_pauses(3), GREEDY, model=toy)
    with pytest.raises(BadRecordError):
        ChunkedTranscription(with_pauses(4), toy.traits, GREEDY, resume=ResumePoint(windows[0].checkpoint))


def test_a_language_that_the_model_lacks_is_refused_by_name(toy: ReferenceModel) -> None:
    with pytest.raises(EngineError, match="yue"):
        transcribe_chunked(with_pauses(3), toy.traits, replace(GREEDY, language="yue"), toy.serve)


@pytest.mark.usefixtures("alignment")
def test_words_are_aligned_within_their_chunk() -> None:
    model = ReferenceModel(short_toy(1), seed=0)
    requests: list[Request] = []

    def serve(request: Request) -> Any:
        requests.append(request)
        return model.serve(request)

    transcribed(serve, with_pauses(0, 4.8, 2.88), WORDS, model=model)
    (align,) = [request for request in requests if isinstance(request, Align)]
    assert (align.num_frames, align.last_speech_timestamp) == (308, 0.0)
    assert sum(isinstance(request, Encode) for request in requests) == 1


@pytest.fixture(scope="module")
def recording(recordings: list[dict[str, Any]], samples_of: SamplesOf) -> tuple[Samples, str]:
    """A minute of real speech and what is said in it."""
    entry = next(entry for entry in recordings if entry["file"] == "dev-minute-01.flac")
    return samples_of(entry["path"]), entry["text"]


@pytest.mark.models
def test_real_speech_is_understood(models_dir: Any, recording: tuple[Samples, str]) -> None:
    samples, spoken = recording
    model = ReferenceModel(load_model("tiny.en", models_dir, "cpu"), seed=0)
    transcript, windows = transcribed(model.serve, samples, TranscribeOptions(mode="vad"), model=model)
    normalise = EnglishTextNormalizer()
    assert jiwer.wer(normalise(spoken), normalise(transcript.text)) < 0.06
    assert len(windows) >= 3
    assert all(0 < segment.end - segment.start < 20 for segment in transcript.segments)
    assert sorted(transcript.segments, key=lambda segment: segment.start) == list(transcript.segments)
