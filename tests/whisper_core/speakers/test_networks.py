"""Our networks beside their authors' own, with the same random weights."""

from __future__ import annotations

import torch
from torch.nn import functional

from tests.whisper_core.speakers.reference_networks import CamPlusPlusModule, PyanNet, randomised
from whisper_core.speakers.campplus import CamPlusPlus
from whisper_core.speakers.segmentation import Segmentation


@torch.inference_mode()
def test_segmentation_is_pyannotes() -> None:
    reference = randomised(PyanNet(), 1)
    ours = Segmentation(reference.state_dict())
    spans = torch.randn(1, 32_000) * 0.1

    found, expected = ours.log_probabilities(spans), reference(spans)

    assert found.shape == (1, 115, 7)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    activity = ours.activity(spans)
    assert activity.shape == (1, 115, 4)
    torch.testing.assert_close(activity[..., 0], 1 - expected[..., 0].exp(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(activity[..., 2], expected[..., [2, 4, 6]].exp().sum(-1), atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_voice_network_is_3d_speakers() -> None:
    reference = randomised(CamPlusPlusModule(), 2)
    ours = CamPlusPlus(reference.state_dict())

    features = torch.randn(2, 230, 80) - 5  # long enough for two gates
    expected = functional.normalize(reference(features - features.mean(1, keepdim=True)))
    torch.testing.assert_close(ours.embeddings(features), expected, atol=1e-4, rtol=1e-3)
