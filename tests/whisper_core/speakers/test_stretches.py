"""Speech and changes of voice become stretches, and these excerpts; spans of ten seconds become one."""

from __future__ import annotations

import numpy as np
import pytest

from whisper_core.speakers.segmentation import FRAME_SHIFT, FRAMES
from whisper_core.speakers.sound import Floats, stretch
from whisper_core.speakers.stitching import STEP_FRAMES, Stitcher
from whisper_core.speakers.stretches import Stretch, excerpts_of, find_stretches

PER_SECOND = 16_000 / FRAME_SHIFT


def activity(*parts: tuple[int | None, float]) -> Floats:
    """One local voice after the other, with its seconds; None is silence."""
    rows = []
    for voice, seconds in parts:
        row = np.zeros(4, np.float32)
        if voice is not None:
            row[[0, 1 + voice]] = 1
        rows.append(np.repeat(row[None], round(seconds * PER_SECOND), 0))
    return np.concatenate(rows)


def borders(stretches: list[Stretch]) -> list[float]:
    """Start and end of each, in seconds."""
    return [border / 16_000 for each in stretches for border in (each.start, each.stop)]


def test_pauses_and_changes_of_voice_cut_and_short_ones_do_not() -> None:
    heard = activity((None, 1), (0, 3), (None, 0.2), (0, 2), (1, 2), (0, 0.1), (1, 2), (None, 0.6), (2, 1.3))
    found = find_stretches(heard, len(heard) * FRAME_SHIFT)
    assert borders(found) == pytest.approx([1.0, 6.2, 6.2, 10.3, 10.9, 12.2], abs=0.08)


def test_a_click_is_no_speech_and_nothing_lies_behind_the_end() -> None:
    heard = activity((None, 1), (0, 0.1), (None, 2), (1, 2))
    assert borders(find_stretches(heard, 4 * 16_000)) == pytest.approx([3.1, 4.0], abs=0.08)
    assert find_stretches(activity((None, 3)), 48_000) == []
    assert find_stretches(np.zeros((0, 4), np.float32), 0) == []


def test_excerpts_cover_a_stretch_to_its_end() -> None:
    excerpts = excerpts_of([Stretch(0, 40_000), Stretch(50_000, 60_000)])
    assert [(each.start, each.stop, each.stretch) for each in excerpts] == [
        (0, 24_000, 0),
        (12_000, 36_000, 0),
        (16_000, 40_000, 0),
        (50_000, 60_000, 1),
    ]


def test_a_voice_keeps_its_number_from_span_to_span() -> None:
    whole = activity((0, 3), (1, 4), (0, 4), (2, 3), (1, 6))[: FRAMES + 2 * STEP_FRAMES]
    stitcher = Stitcher()
    found = [
        stitcher.add(whole[first : first + FRAMES][:, [0, *order]].copy())
        for first, order in ((0, (1, 2, 3)), (STEP_FRAMES, (3, 1, 2)), (2 * STEP_FRAMES, (2, 1, 3)))
    ]
    joined = np.concatenate([*found, stitcher.rest()])
    assert joined.shape == whole.shape
    assert np.array_equal(joined.argmax(1), whole.argmax(1))
    assert np.array_equal(joined[:, 1:].argmax(1), whole[:, 1:].argmax(1))


def test_a_stretch_of_a_recording_is_silent_around_it() -> None:
    sound = np.array([1, 2, 3], np.float32)
    assert stretch(sound, -2, 5).tolist() == [0, 0, 1, 2, 3, 0, 0]
    assert stretch(sound, 1, 2).tolist() == [2]
    assert stretch(np.array([16_384], np.int16), 0, 2).tolist() == [0.5, 0]
    assert stretch(sound, 7, 9).tolist() == [0, 0]
