"""What a checkpoint and a transcript tell of themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from whisper_core.text.transcript import Checkpoint, Segment, Transcript, Word


@pytest.mark.parametrize(
    ("seek", "content_frames", "expected"),
    [
        (0, 4000, (0.0, 0.0, False)),
        (3000, 4000, (30.0, 0.75, False)),
        (4000, 4000, (40.0, 1.0, True)),
        (6000, 4000, (40.0, 1.0, True)),  # the last window's 30 s reach beyond the recording
        (0, 0, (0.0, 1.0, True)),
    ],
)
def test_a_checkpoint_tells_how_far_its_recording_is(
    seek: int, content_frames: int, expected: tuple[float, float, bool]
) -> None:
    checkpoint = Checkpoint("en", seek, content_frames)
    assert (checkpoint.audio_done_seconds, checkpoint.progress, checkpoint.is_at_end) == expected


def said(seek: int, *tokens: int, words: tuple[Word, ...] | None = None) -> Segment:
    return Segment(0, seek, seek / 100, seek / 100 + 30, "Hi", tokens, 0.0, -0.1, 1.0, 0.0, words)


BEGIN, END, TEXT = 50_364, 51_000, 17


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([said(0, BEGIN, TEXT), said(3000, BEGIN, TEXT)], True),
        ([said(0, BEGIN, TEXT), said(3000), said(6000, BEGIN, TEXT)], True),
        ([said(0, BEGIN, TEXT)], False),
        ([said(0, BEGIN, TEXT), said(3000, BEGIN, TEXT, END)], False),
        ([said(0, BEGIN, TEXT, words=()), said(3000, BEGIN, TEXT, words=())], False),
        ([said(0, TEXT), said(3000, TEXT)], False),
        ([], False),
    ],
    ids=["two windows", "one without speech", "one window", "one end", "words", "no timestamps at all", "nothing"],
)
def test_a_transcript_tells_that_its_model_has_ended_no_segment(segments: list[Segment], expected: bool) -> None:
    assert Transcript("Hi", "en", tuple(segments)).has_coarse_times is expected


@pytest.mark.parametrize(
    ("start", "end", "late", "short"),
    [
        (0.0, 9.0, (4.5, 9.0), (0.0, 7.5)),
        (1.0, 4.0, (1.0, 4.0), (1.0, 4.0)),
        (5.0, 6.0, (5.0, 6.0), (5.0, 6.0)),
        (8.0, 30.0, (8.0, 30.0), (7.5, 7.5)),
    ],
)
def test_a_segment_is_kept_within_what_is_heard(
    start: float, end: float, late: tuple[float, float], short: tuple[float, float]
) -> None:
    """Sound from 4.5 s on; and a recording of 7.5 s."""
    segment = replace(said(0), start=start, end=end, words=(Word(" Hi", start, end, 0.9),))
    assert times(segment.from_(4.5)) == [late, late]
    (kept,) = Transcript("Hi", "en", (segment,)).within(7.5).segments
    assert times(kept) == [short, short]
    assert Transcript("Hi", "en", (segment,)).within(None).segments == (segment,)


def times(segment: Segment) -> list[tuple[float, float]]:
    parts: list[Segment | Word] = [segment, *(segment.words or ())]
    return [(part.start, part.end) for part in parts]


def test_speakers_are_in_the_result_only_where_they_are_known() -> None:
    word = Word(" Hi", 0.0, 0.5, 0.9)
    plain = said(0, BEGIN, TEXT, words=(word,))
    fields = Transcript("Hi", "en", (plain,)).to_dict()
    assert list(fields) == ["text", "language", "segments", "precision"]
    assert "speaker" not in fields["segments"][0] | fields["segments"][0]["words"][0]
    spoken = replace(plain, speaker="S1", words=(replace(word, speaker="S2"),))
    transcript = Transcript("Hi", "en", (spoken,), speakers={"S1": "Ann", "S2": None})
    assert transcript.to_dict()["segments"][0]["words"][0]["speaker"] == "S2"
    assert Transcript.from_dict(transcript.to_dict()) == transcript
