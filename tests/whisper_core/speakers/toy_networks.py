"""Networks of the right shape with random weights, and two that hear tones instead of voices."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from whisper_core.speakers.campplus import CamPlusPlus
from whisper_core.speakers.networks import SpeakerNetworks
from whisper_core.speakers.segmentation import FRAME_SHIFT, FRAMES, Segmentation
from whisper_core.speakers.sound import Floats

RATE = 16_000
TONES_HZ = (300.0, 900.0, 2700.0)


class ToneSegmentation:
    """Speech is what is loud; a local voice is a tone."""

    def activity(self, spans: Tensor) -> Tensor:
        frames = spans[:, : FRAMES * FRAME_SHIFT].reshape(len(spans), FRAMES, FRAME_SHIFT)
        heard = [_strength(frames, hertz) for hertz in TONES_HZ]
        voices = torch.stack(heard, 2).gt(0.1).float()
        return torch.cat([voices.amax(2, keepdim=True), voices], 2)


class ToneVoices:
    """A voice is the shape of its spectrum."""

    def embeddings(self, features: Tensor) -> Tensor:
        loudness = features.exp().mean(1)
        return torch.nn.functional.normalize(torch.nn.functional.pad(loudness, (0, 112)))


def tone_networks() -> SpeakerNetworks:
    return SpeakerNetworks(cast(Segmentation, ToneSegmentation()), cast(CamPlusPlus, ToneVoices()))


def tones(*parts: tuple[int | None, float]) -> Floats:
    """Samples of one tone after the other, by its number and its seconds; None is silence."""
    sound = []
    for number, seconds in parts:
        time = np.arange(int(seconds * RATE)) / RATE
        sound.append(np.zeros(len(time)) if number is None else 0.5 * np.sin(2 * np.pi * TONES_HZ[number] * time))
    return np.concatenate(sound).astype(np.float32)


def _strength(frames: Tensor, hertz: float) -> Tensor:
    angle = 2 * torch.pi * hertz * torch.arange(frames.shape[2]) / RATE
    return ((frames @ angle.cos()).square() + (frames @ angle.sin()).square()).sqrt() / frames.shape[2]
