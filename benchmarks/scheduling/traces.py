"""Arrivals for the simulation: when tasks come, how long their recordings are, their models and their owners."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Pattern = Literal["poisson", "bursty"]

MEAN_AUDIO_SECONDS = 240.0
LEAST_AUDIO_SECONDS = 2.0
BURST = 20  # tasks in a burst on average: somebody drops a folder on the page
OWNERS = 5


@dataclass(frozen=True)
class Arrival:
    at: float  # seconds from the beginning
    model: str
    audio_seconds: float
    owner: str


@dataclass(frozen=True)
class TraceSpec:
    tasks: int
    load: float  # work that arrives per second and device, in seconds of a device that runs one task at a time
    pattern: Pattern = "poisson"
    cv: float = 1.5  # coefficient of variation of the recordings' lengths, which are log-normal
    seed: int = 1
    owners: int = OWNERS
    heaviest: float = 1.0  # how many times as many tasks the first owner brings as the last one; in between a power law
    swing: float = 0.0  # the rate goes up and down by this share of itself
    swing_seconds: float = 1800.0

    def weights(self) -> list[float]:
        """Of the owners: what each brings, beside the last one."""
        slope = math.log(self.heaviest) / math.log(self.owners) if self.owners > 1 else 0.0
        return [(self.owners / place) ** slope for place in range(1, self.owners + 1)]

    def rate_at(self, at: float) -> float:
        """Beside the mean rate."""
        return 1 + self.swing * math.sin(2 * math.pi * at / self.swing_seconds)


def arrivals(
    spec: TraceSpec, speeds: dict[str, float], shares: dict[str, float], devices: int = 1
) -> Iterator[Arrival]:
    """speeds: seconds of sound that a device gets done per second with one task at a time, by model.

    shares: of the tasks, by model.
    """
    rng = random.Random(spec.seed)
    models, weights = list(shares), list(shares.values())
    sigma = math.sqrt(math.log(1 + spec.cv**2))
    mu = math.log(MEAN_AUDIO_SECONDS) - sigma**2 / 2
    mean_work = MEAN_AUDIO_SECONDS * sum(share / speeds[model] for model, share in shares.items()) / sum(weights)
    gap = mean_work / (spec.load * devices)
    weights_of_owners = spec.weights()

    def an_owner() -> int:
        if spec.heaviest == 1:
            return rng.randrange(spec.owners)
        return rng.choices(range(spec.owners), weights_of_owners)[0]

    at, left_of_burst, owner = 0.0, 0, 0
    for _ in range(spec.tasks):
        if spec.pattern == "poisson":
            at += rng.expovariate(spec.rate_at(at) / gap)
            owner = an_owner()
        elif left_of_burst:
            left_of_burst -= 1
        else:
            at += rng.expovariate(spec.rate_at(at) / (gap * BURST))  # a burst has BURST + 0.5 tasks on average
            left_of_burst = int(rng.expovariate(1 / BURST))
            owner = an_owner()
        audio_seconds = max(LEAST_AUDIO_SECONDS, rng.lognormvariate(mu, sigma))
        yield Arrival(at, rng.choices(models, weights)[0], audio_seconds, f"owner{owner}")
