"""A recording is cut at pauses into chunks of at most one window, and no speech is left out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_core.chunker import MARGIN_FRAMES, Chunk, ChunkCutter, speech_runs

FRAMES_PER_WINDOW = 3.2
SECOND = 31.25  # windows


class KnownScan:
    """A scan whose answers are given."""

    def __init__(self, probabilities: npt.NDArray[np.float32]) -> None:
        self._probabilities = probabilities
        self.num_windows = len(probabilities)

    def probabilities(self, first: int, count: int) -> npt.NDArray[np.float32]:
        return self._probabilities[first : first + count]


def spoken(*seconds: tuple[float, float]) -> npt.NDArray[np.float32]:
    """(seconds, probability), one after the other."""
    parts = [np.full(round(length * SECOND), probability, np.float32) for length, probability in seconds]
    return np.concatenate([np.zeros(0, np.float32), *parts])


def cut(probabilities: npt.NDArray[np.float32], after: int = 0) -> list[Chunk]:
    content_frames = int(len(probabilities) * FRAMES_PER_WINDOW)
    cutter = ChunkCutter(KnownScan(probabilities), content_frames, after=after)  # type: ignore[arg-type]
    chunks = []
    while not cutter.is_exhausted:
        chunk = cutter.next_chunk()
        if chunk is not None:
            chunks.append(chunk)
    assert cutter.next_chunk() is None
    return chunks


def test_silence_before_and_after_is_left_out() -> None:
    (chunk,) = cut(spoken((40, 0), (5, 1), (100, 0)))
    assert chunk.start == pytest.approx(4000 - MARGIN_FRAMES, abs=4)
    assert chunk.speech_end == pytest.approx(4500, abs=4)
    assert chunk.end == chunk.speech_end + MARGIN_FRAMES


def test_of_the_late_pauses_the_longest_is_where_it_is_cut() -> None:
    first, second = cut(spoken((5, 1), (3, 0), (14, 1), (0.5, 0), (5, 1), (0.2, 0), (10, 1)))
    assert first.speech_end == pytest.approx(2200, abs=4)
    assert second.start == pytest.approx(2250 - MARGIN_FRAMES, abs=4)


def test_an_earlier_pause_is_better_than_none() -> None:
    first, second = cut(spoken((12, 1), (0.5, 0), (20, 1)))
    assert (first.speech_end, second.start) == (pytest.approx(1200, abs=4), pytest.approx(1230, abs=4))


def test_a_short_pause_is_shared() -> None:
    first, second = cut(spoken((22, 1), (0.2, 0), (20, 1)))
    assert first.end == second.start == pytest.approx(2210, abs=5)


def test_without_a_pause_it_is_cut_where_speech_is_least_certain() -> None:
    first, second = cut(spoken((26, 1), (0.04, 0.6), (14, 1)))
    assert first.end == second.start == pytest.approx(2600, abs=4)


def test_a_long_silence_ends_a_chunk_early() -> None:
    first, second = cut(spoken((3, 1), (20, 0), (10, 1)))
    assert first.speech_end == pytest.approx(300, abs=4)
    assert second.start == pytest.approx(2300 - MARGIN_FRAMES, abs=4)


def test_a_chunk_tells_where_somebody_speaks() -> None:
    (chunk,) = cut(spoken((1, 0), (5, 1), (3, 0), (0.064, 1), (1, 0), (4, 1)))
    first, second = chunk.speech
    assert first == pytest.approx((100, 600), abs=4)
    assert second == pytest.approx((1000, 1400), abs=8)
    assert chunk.speech_after(0) == (pytest.approx(900, abs=8), chunk.speech[0][0])
    assert chunk.speech_after(500) == (pytest.approx(500, abs=8), 500)
    assert chunk.speech_after(700) == (pytest.approx(400, abs=8), chunk.speech[1][0])
    assert chunk.speech_after(chunk.speech_end) == (0, chunk.end)


def test_clicks_are_no_speech_and_short_gaps_no_pauses() -> None:
    assert speech_runs(spoken((1, 0), (0.064, 1), (1, 0))) == []
    assert speech_runs(spoken((1, 1), (0.128, 0), (1, 1))) == [(0, 66)]


def test_between_the_thresholds_it_stays_what_it_was() -> None:
    assert speech_runs(spoken((1, 0.4), (1, 0.9), (1, 0.4), (1, 0.1), (1, 0.4))) == [(31, 93)]


@pytest.mark.parametrize("probabilities", [spoken(), spoken((0.032, 1)), spoken((500, 0)), spoken((500, 0.49))])
def test_where_nobody_speaks_there_is_no_chunk(probabilities: npt.NDArray[np.float32]) -> None:
    assert cut(probabilities) == []


SPEECH_AND_PAUSE = st.tuples(
    st.sampled_from([0.03, 0.1, 0.2, 0.5, 1, 4, 12, 31, 65]), st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0])
)


@given(st.lists(SPEECH_AND_PAUSE, max_size=25).map(lambda stretches: spoken(*stretches)))
def test_chunks_fit_a_window_and_leave_no_speech_out(probabilities: npt.NDArray[np.float32]) -> None:
    chunks = cut(probabilities)
    for chunk in chunks:
        assert 0 <= chunk.start < chunk.speech_end <= chunk.end <= chunk.start + 3000
    assert all(before.end <= after.start for before, after in pairwise(chunks))
    covered = np.zeros(len(probabilities), bool)
    for chunk in chunks:
        covered[round(chunk.start / FRAMES_PER_WINDOW) : round(chunk.end / FRAMES_PER_WINDOW)] = True
    for start, end in speech_runs(np.where(probabilities >= 0.5, probabilities, 0)):
        missed = int((~covered[start:end] & (probabilities[start:end] >= 0.5)).sum())
        assert missed <= 2  # what a cut leaves of a run may be as short as a click


@given(st.lists(SPEECH_AND_PAUSE, max_size=25).map(lambda stretches: spoken(*stretches)))
def test_cutting_goes_on_after_any_chunk_as_if_never_interrupted(probabilities: npt.NDArray[np.float32]) -> None:
    chunks = cut(probabilities)
    for done, chunk in enumerate(chunks, start=1):
        assert cut(probabilities, after=chunk.end) == chunks[done:]
