"""The whole way from samples to turns: with networks that hear tones, and with the real ones on people's voices."""

from __future__ import annotations

import numpy as np
import pytest

from tests.whisper_core.speakers.toy_networks import tone_networks, tones
from whisper_core.speakers.pipeline import find_turns, turn_steps
from whisper_core.speakers.sound import Floats
from whisper_core.text.turns import Turn

CONVERSATION = ((None, 0.5), (2, 6.0), (0, 5.0), (None, 1.0), (2, 4.0), (1, 9.0), (0, 3.0))


def rounded(turns: tuple[Turn, ...]) -> list[tuple[float, float, int]]:
    return [(round(turn.start, 1), round(turn.end, 1), turn.speaker) for turn in turns]


def test_turns_are_numbered_by_who_speaks_first() -> None:
    turns = find_turns(tones(*CONVERSATION), tone_networks())
    assert [turn.speaker for turn in turns] == [0, 1, 0, 2, 1]
    borders = [(turn.start, turn.end) for turn in turns]
    expected = [(0.5, 6.5), (6.5, 11.5), (12.5, 16.5), (16.5, 25.5), (25.5, 28.5)]
    assert borders == [pytest.approx(each, abs=0.1) for each in expected]


def test_samples_may_lie_on_the_disk_as_int16() -> None:
    sound = tones(*CONVERSATION)
    as_int16 = (sound * 32_767).astype(np.int16)
    assert rounded(find_turns(as_int16, tone_networks())) == rounded(find_turns(sound, tone_networks()))


def test_a_known_number_joins_the_nearest_voices() -> None:
    turns = find_turns(tones(*CONVERSATION), tone_networks(), num_speakers=2)
    assert {turn.speaker for turn in turns} == {0, 1}
    assert {turn.speaker for turn in find_turns(tones(*CONVERSATION), tone_networks(), num_speakers=1)} == {0}


@pytest.mark.parametrize("sound", [tones((None, 3.0)), tones((0, 0.3)), np.zeros(0, np.float32)])
def test_where_nobody_speaks_there_is_no_turn(sound: Floats) -> None:
    assert find_turns(sound, tone_networks()) == ()


def test_progress_rises_to_the_end_and_what_it_raises_ends_the_search() -> None:
    sound = tones((0, 40.0), (1, 40.0))
    shares: list[float] = []
    find_turns(sound, tone_networks(), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert len(shares) > 6

    class StopSearchError(Exception):
        pass

    def stop(share: float) -> None:
        raise StopSearchError

    with pytest.raises(StopSearchError):
        find_turns(sound, tone_networks(), progress=stop)
    steps = turn_steps(sound, tone_networks())
    assert 0 < next(steps) < 1
    steps.close()
