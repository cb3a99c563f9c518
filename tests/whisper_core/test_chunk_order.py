"""mode=vad: chunks are decoded in any order, alone or interleaved, with one and the same result.

Random weights; speech is whatever is not silent.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from tests.whisper_core.chunked_driving import (
    DETECTED,
    FOUR_CHUNKS,
    GREEDY,
    PLAIN,
    TWO_STEPS,
    WORDS,
    Remembering,
    run,
    transcribed,
)
from tests.whisper_core.parity import Samples, resume_after, short_toy
from whisper_core.chunked import ChunkedTranscription, ChunkStream
from whisper_core.model_requests import DecodeSettings
from whisper_core.reference.model import ReferenceModel
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript, WindowResult

pytestmark = pytest.mark.usefixtures("loud_scan")

LADDER = replace(GREEDY, temperature=None, initial_prompt="Names: Ann.")
WINDOW = 4  # frames: speech is told in steps of 32 ms


@pytest.fixture(scope="module")
def remembering() -> Remembering:
    return Remembering(ReferenceModel(short_toy(13), seed=7))


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
        resume = resume_after(windows[:done])
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
