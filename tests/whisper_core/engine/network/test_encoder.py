"""The encoder's layers add to their sum in two ways, and compute the same."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from tests.whisper_core.engine.driving import toy
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.engine.network.encoder import _SumWithNorm
from whisper_core.engine.network.step_functions import TORCH_FUNCTIONS, StepFunctions
from whisper_core.engine.network.triton_functions import TRITON_FUNCTIONS


@pytest.mark.parametrize("functions", [TORCH_FUNCTIONS, TRITON_FUNCTIONS], ids=["torch", "triton"])
def test_adding_where_it_is_normalised_computes_the_same(
    functions: StepFunctions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU adds a product in the kernel of the next norm, a CPU in the product."""
    encoder = LoadedModel(toy()).encoder
    mels = torch.randn(2, 80, 120, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(encoder, "_positions", encoder._positions[:60])
    with torch.inference_mode():
        at_once = encoder.features(mels)
        monkeypatch.setattr(encoder, "_sum_of", partial(_SumWithNorm, functions.add_norm))
        torch.testing.assert_close(encoder.features(mels), at_once, rtol=1e-4, atol=1e-5)
