"""Conversations of people who never met, made of their recordings, so that it is known who speaks when."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.speaker_voices import SAMPLE_RATE, Recording, Samples

TURN_S = (1.5, 15.0)  # what somebody means to say before the next one speaks
PAUSE_S = (0.0, 1.0)  # between two people
BREATH_S = (0.15, 0.5)  # between two recordings of one person
GAIN_DB = 3.0  # louder or quieter than the others
NOISE = 0.0005  # deviation of a constant noise, so that silence is not digital

# Speakers and minutes of each mix.
PLAN = (
    (1, 0.5), (1, 3), (2, 0.5), (2, 1), (2, 4), (3, 1), (3, 2), (3, 8), (4, 2), (4, 4), (4, 6), (5, 3), (5, 5), (6, 8),
)  # fmt: skip


@dataclass(frozen=True)
class Speech:
    start: float  # seconds
    end: float
    speaker: str


@dataclass(frozen=True)
class Mix:
    """speech: of everybody, in order, every stretch between two pauses."""

    name: str
    samples: Samples
    speech: tuple[Speech, ...]

    @property
    def speakers(self) -> int:
        return len({each.speaker for each in self.speech})

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def make_mixes(
    voices: Mapping[str, Sequence[Recording]],
    seed: int,
    *,
    overlap: float = 0.0,
    plan: Sequence[tuple[int, float]] = PLAN,
) -> list[Mix]:
    """One for each line of the plan. overlap: how likely a turn begins up to 2 s before the end of the one before."""
    return [
        _make_mix(f"{seed}-{number:02}", voices, speakers, minutes * 60, overlap, random.Random(f"{seed} {number}"))
        for number, (speakers, minutes) in enumerate(plan, 1)
    ]


def _make_mix(
    name: str,
    voices: Mapping[str, Sequence[Recording]],
    speakers: int,
    seconds: float,
    overlap: float,
    chance: random.Random,
) -> Mix:
    chosen = chance.sample(sorted(voices), speakers)
    gains = {speaker: 10 ** (chance.uniform(-GAIN_DB, GAIN_DB) / 20) for speaker in chosen}
    samples = np.zeros(int((seconds + 60) * SAMPLE_RATE), np.float32)
    speech: list[Speech] = []
    place, last = chance.uniform(*PAUSE_S), ""
    waiting: list[str] = []
    while place < seconds or len({each.speaker for each in speech}) < speakers:
        if not waiting:  # everybody has had a turn, so everybody gets another
            waiting = [each for each in chance.sample(chosen, speakers) if each != last] or chosen[:]
        last = waiting.pop(0)
        place = _add_turn(samples, speech, voices[last], last, gains[last], place, chance)
        is_early = speakers > 1 and chance.random() < overlap
        place += -chance.uniform(0.3, 2.0) if is_early else chance.uniform(*PAUSE_S)
    speech.sort(key=lambda each: each.start)
    end = int((max(each.end for each in speech) + 0.3) * SAMPLE_RATE)
    noise = np.random.default_rng(chance.randrange(2**32)).normal(0, NOISE, end)
    return Mix(name, (samples[:end] + noise).astype(np.float32), tuple(speech))


def _add_turn(
    samples: Samples,
    speech: list[Speech],
    recordings: Sequence[Recording],
    speaker: str,
    gain: float,
    place: float,
    chance: random.Random,
) -> float:
    """The time at its end."""
    wanted_end = place + chance.uniform(*TURN_S)
    while True:
        recording = chance.choice(recordings)
        start = int(max(0.0, place) * SAMPLE_RATE)
        samples[start : start + len(recording.samples)] += gain * recording.samples
        speech += [
            Speech((start + first) / SAMPLE_RATE, (start + stop) / SAMPLE_RATE, speaker)
            for first, stop in recording.speech
        ]
        place = (start + len(recording.samples)) / SAMPLE_RATE
        if place >= wanted_end:
            return place
        place += chance.uniform(*BREATH_S)
