"""Arrivals for the simulation: when tasks come, how long their recordings are, with which model and whose they are."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Pattern = Literal["poisson", "bursty"]

MEAN_AUDIO_SECONDS = 240.0
LEAST_AUDIO_SECONDS = 2.0
BURST = 20  # tasks of one burst, on average: a folder that somebody drops on the page
OWNERS = 5


@dataclass(frozen=True)
class Arrival:
    """at: seconds from the beginning."""

    at: float
    model: str
    audio_seconds: float
    owner: str


@dataclass(frozen=True)
class TraceSpec:
    """load: work that comes in a second, in seconds of a device that does one task at a time, over all devices. cv: the
    coefficient of variation of the recordings' lengths, which are log-normal."""

    tasks: int
    load: float
    pattern: Pattern = "poisson"
    cv: float = 1.5
    seed: int = 1


def arrivals(
    spec: TraceSpec, speeds: dict[str, float], shares: dict[str, float], devices: int = 1
) -> Iterator[Arrival]:
    """speeds: seconds of sound that a device does in a second, one task at a time, by model. shares: of the tasks."""
    rng = random.Random(spec.seed)
    models, weights = list(shares), list(shares.values())
    sigma = math.sqrt(math.log(1 + spec.cv**2))
    mu = math.log(MEAN_AUDIO_SECONDS) - sigma**2 / 2
    mean_work = MEAN_AUDIO_SECONDS * sum(share / speeds[model] for model, share in shares.items()) / sum(weights)
    gap = mean_work / (spec.load * devices)
    at, left_of_burst, owner = 0.0, 0, 0
    for _ in range(spec.tasks):
        if spec.pattern == "poisson":
            at += rng.expovariate(1 / gap)
            owner = rng.randrange(OWNERS)
        elif left_of_burst:
            left_of_burst -= 1
        else:
            at += rng.expovariate(1 / (gap * BURST))  # a burst has BURST + 0.5 tasks on average
            left_of_burst = int(rng.expovariate(1 / BURST))
            owner = rng.randrange(OWNERS)
        audio_seconds = max(LEAST_AUDIO_SECONDS, rng.lognormvariate(mu, sigma))
        yield Arrival(at, rng.choices(models, weights)[0], audio_seconds, f"owner{owner}")
