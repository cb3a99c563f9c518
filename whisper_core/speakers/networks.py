"""The two networks, read from their files. Nothing from a file is run: `weights_only`, after its checksum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from errors import ModelUnavailableError, WeightsDamagedError
from whisper_core.models.speaker_weights import speaker_weights
from whisper_core.models.weight_files import Weights, is_intact
from whisper_core.speakers.campplus import CamPlusPlus
from whisper_core.speakers.segmentation import Segmentation


@dataclass(frozen=True)
class SpeakerNetworks:
    """segmentation: where somebody speaks. voices: what a voice is like. fp32 on the CPU, 36 MB together."""

    segmentation: Segmentation
    voices: CamPlusPlus


def load_speaker_networks(models_dir: Path) -> SpeakerNetworks:
    """Reads the disk and fetches nothing. Raises ModelUnavailableError, WeightsDamagedError."""
    weights = speaker_weights(models_dir)
    return SpeakerNetworks(Segmentation(_read(weights.segmentation)), CamPlusPlus(_read(weights.embedding)))


def _read(weights: Weights) -> dict[str, Tensor]:
    try:
        if not is_intact(weights):
            raise WeightsDamagedError("The weights that tell speakers apart are damaged.")
    except FileNotFoundError as error:
        raise ModelUnavailableError("The weights that tell speakers apart are not here.") from error
    state: dict[str, Tensor] = torch.load(weights.path, map_location="cpu", weights_only=True)
    return state.get("state_dict", state)  # type: ignore[return-value]
