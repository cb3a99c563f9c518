"""mode=vad: what is heard in a chunk, heard again, hinted and placed.

Scripted answers where a rule needs a certain text, random weights elsewhere. Speech is whatever is not silent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from errors import BadRecordError, EngineError
from tests.whisper_core.chunked_driving import (
    DETECTED,
    FOUR_CHUNKS,
    GREEDY,
    TWO_STEPS,
    WORDS,
    run,
    transcribed,
    with_pauses,
)
from tests.whisper_core.parity import Samples, short_toy
from whisper_core.chunked import ChunkedTranscription, transcribe_chunked
from whisper_core.model_requests import Align, Decode, Decoded, DecodeSettings, DetectLanguage, Encode, Request
from whisper_core.reference.model import ReferenceModel
from whisper_core.text.transcript import Transcript
from whisper_core.transcribe import ResumePoint

pytestmark = pytest.mark.usefixtures("loud_scan")


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
    assert transcribed(script, samples, GREEDY, model=toy) == (Transcript("", "en", (), "fp32"), [])
    assert transcribed(script, samples, DETECTED, model=toy) == (Transcript("", "", (), "fp32"), [])
    assert script.requests == []


def test_a_chunk_that_the_model_calls_silent_has_no_segments(toy: ReferenceModel) -> None:
    settings = DecodeSettings(no_speech_threshold=0.0, logprob_threshold=None)
    transcript, windows = transcribed(toy.serve, FOUR_CHUNKS, GREEDY, settings, model=toy)
    assert transcript == Transcript("", "en", (), "fp32")
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
