"""Who speaks when: speech and changes of voice, then what each voice is like, then which are the same.

Everything is computed in blocks: beyond the samples, which are read as they are needed, memory grows by a few MB for
every hour of sound (memory.py). The same samples give the same turns, bit for bit, with the same number of threads in
torch. It computes with as many threads as torch has in the calling thread, and changes nothing of torch's. A second
thread makes it hardly faster.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import torch

from whisper_core.speakers.clustering import find_voices
from whisper_core.speakers.filter_banks import filter_banks
from whisper_core.speakers.labelling import turns_of
from whisper_core.speakers.networks import SpeakerNetworks
from whisper_core.speakers.sound import Floats, Sound, stretch
from whisper_core.speakers.stitching import activity_in_blocks
from whisper_core.speakers.stretches import EXCERPT, SAMPLE_RATE, Excerpt, excerpts_of, find_stretches
from whisper_core.text.turns import Turn

SHORTEST_RECORDING = SAMPLE_RATE // 2

_EXCERPTS_AT_ONCE = 16
_SEGMENTATION_SHARE = 0.45  # of the time
_SURE = 0.8 * SAMPLE_RATE  # a shorter excerpt says too little to tell which voices there are


def find_turns(
    samples: Sound,
    networks: SpeakerNetworks,
    *,
    num_speakers: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Turn, ...]:
    """The turns of all speakers, in order; none overlaps another, as the louder of two voices counts.

    Empty where nobody speaks. samples: 16 kHz mono, float32 in [-1, 1] or int16. num_speakers: if known; fewer are
    found where so many cannot be told apart. progress: told the share that is done, from 0 to 1, every few seconds of
    computation; what it raises ends the search.
    """
    steps = turn_steps(samples, networks, num_speakers=num_speakers)
    while True:
        try:
            progress(next(steps))
        except StopIteration as end:
            turns: tuple[Turn, ...] = end.value
            return turns


def turn_steps(
    samples: Sound, networks: SpeakerNetworks, *, num_speakers: int | None = None
) -> Generator[float, None, tuple[Turn, ...]]:
    """The same in steps of under a second: yields the share that is done, and returns the turns. Close it to stop."""
    if len(samples) < SHORTEST_RECORDING:
        return ()
    activity = yield from _listen(samples, networks)
    stretches = find_stretches(activity, len(samples))
    excerpts = excerpts_of(stretches)
    if not excerpts:
        return ()
    speech = activity[:, 0].copy()
    del activity
    embeddings = yield from _voices_of(samples, networks, excerpts)
    is_sure = np.array([excerpt.stop - excerpt.start >= _SURE for excerpt in excerpts])
    voices = find_voices(embeddings[is_sure] if is_sure.any() else embeddings, num_speakers)
    turns = turns_of(stretches, excerpts, embeddings @ voices.T, speech)
    yield 1.0
    return turns


def _listen(samples: Sound, networks: SpeakerNetworks) -> Generator[float, None, Floats]:
    blocks, frames = [], 0
    total = 1 + len(samples) // 270
    for block in activity_in_blocks(samples, networks.segmentation):
        blocks.append(block)
        frames += len(block)
        yield _SEGMENTATION_SHARE * min(1.0, frames / total)
    return np.concatenate(blocks)


def _voices_of(samples: Sound, networks: SpeakerNetworks, excerpts: list[Excerpt]) -> Generator[float, None, Floats]:
    """Float32 (excerpts, 192)."""
    found: list[Floats] = []
    for first in range(0, len(excerpts), _EXCERPTS_AT_ONCE):
        part = excerpts[first : first + _EXCERPTS_AT_ONCE]
        found.append(_embeddings(np.stack([_whole_excerpt(samples, excerpt) for excerpt in part]), networks))
        yield _SEGMENTATION_SHARE + (1 - _SEGMENTATION_SHARE) * (first + len(part)) / (len(excerpts) + 1)
    return np.concatenate(found)


def _whole_excerpt(samples: Sound, excerpt: Excerpt) -> Floats:
    """1.5 s; a shorter excerpt is repeated."""
    return np.resize(stretch(samples, excerpt.start, excerpt.stop), EXCERPT)


@torch.inference_mode()
def _embeddings(sound: Floats, networks: SpeakerNetworks) -> Floats:
    found: Floats = networks.voices.embeddings(filter_banks(torch.from_numpy(sound))).numpy()
    return found
