"""The mixes that speakers are found in, and what is made of their scores."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.diarization import error_rate, reference_of
from benchmarks.speaker_mixes import TURN_S, Mix, Speech, make_mixes
from benchmarks.speaker_voices import SAMPLE_RATE, Recording, trimmed

PLAN = ((1, 0.2), (2, 0.3), (3, 0.5), (6, 1.0))


@pytest.fixture(scope="module")
def mixes() -> list[Mix]:
    """Each voice has a level of its own, so that the samples tell who speaks."""
    voices = {
        f"voice {level}": [Recording(np.full(SAMPLE_RATE * seconds, level, np.float32), ((0, SAMPLE_RATE * seconds),))]
        for level, seconds in ((1, 2), (2, 3), (3, 2), (4, 5), (5, 4), (6, 1))
    }
    return make_mixes(voices, seed=9, plan=PLAN)


def test_the_plan_is_kept(mixes: list[Mix]) -> None:
    assert [mix.speakers for mix in mixes] == [speakers for speakers, _ in PLAN]
    for mix, (_, minutes) in zip(mixes, PLAN, strict=True):
        assert 60 * minutes - 2 <= mix.seconds <= 60 * minutes + TURN_S[1] + 25


def test_somebody_speaks_exactly_where_the_mix_says(mixes: list[Mix]) -> None:
    for mix in mixes:
        spoken = np.zeros(len(mix.samples), bool)
        for each in mix.speech:
            spoken[round(each.start * SAMPLE_RATE) : round(each.end * SAMPLE_RATE)] = True
        assert np.array_equal(spoken, mix.samples > 0.3)


def test_a_recording_is_cut_to_its_speech_and_at_its_pauses() -> None:
    loud, quiet = np.full(16_000, 0.5, np.float32), np.full(8000, 1e-4, np.float32)
    made = trimmed(np.concatenate([quiet, loud, quiet, loud, quiet[:1600], loud, quiet]))
    assert made.speech == ((0, 16_000), (24_000, 57_600))
    assert len(made.samples) == 57_600


def test_short_pauses_of_one_speaker_are_speech() -> None:
    speech = [Speech(0, 1, "a"), Speech(1.2, 2, "a"), Speech(2.1, 3, "b"), Speech(2.2, 4, "a"), Speech(4.5, 5, "a")]
    assert reference_of(speech) == [(0, 4, "a"), (2.1, 3, "b"), (4.5, 5, "a")]


def test_errors_are_shares_of_all_speech() -> None:
    counted = [
        {"total": 60.0, "missed detection": 1.0, "false alarm": 2.0, "confusion": 3.0},
        {"total": 40.0, "missed detection": 0.0, "false alarm": 0.0, "confusion": 1.0},
    ]
    assert error_rate(counted) == pytest.approx(7.0)
    assert error_rate(counted, "confusion") == pytest.approx(4.0)
