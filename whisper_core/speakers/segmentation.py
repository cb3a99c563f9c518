"""Who of up to three local voices speaks in each 17 ms of ten seconds: pyannote's network segmentation-3.0.

SincNet, four bidirectional LSTM layers, two linear layers, and a class for each set of at most two of three voices.
Which voice is called first differs from one stretch of ten seconds to the next.
Source: pyannote.audio 3 PyanNet (MIT, Copyright (c) 2020 CNRS) and asteroid-filterbanks ParamSincFB.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

SPAN = 160_000  # samples that the network hears at once: 10 s
FRAMES = 589  # in a span
FRAME_SHIFT = 270  # samples: 17 ms
FIRST_CENTRE = 495  # samples from the start of a span to the middle of its first frame
VOICES = 3

_SINC_SAMPLES = 251
_SINC_STRIDE = 10
_LOWEST_HZ, _NARROWEST_HZ = 50.0, 50.0
_SAMPLE_RATE = 16_000
_LSTM_INPUT, _LSTM_STATE, _LSTM_LAYERS = 60, 128, 4

# Which voices each class stands for: nobody, one of them, two of them.
_CLASSES = ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2))


class Segmentation:
    """The network in fp32 on the CPU. weights: named as in pyannote's checkpoint."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._filters = _sinc_filters(
            weights["sincnet.conv1d.0.filterbank.low_hz_"], weights["sincnet.conv1d.0.filterbank.band_hz_"]
        )
        self._lstm = nn.LSTM(_LSTM_INPUT, _LSTM_STATE, _LSTM_LAYERS, batch_first=True, bidirectional=True)
        self._lstm.load_state_dict({name[5:]: value for name, value in weights.items() if name.startswith("lstm.")})
        self._lstm.eval()
        self._voices = torch.tensor([[float(voice in each) for voice in range(VOICES)] for each in _CLASSES])

    @torch.inference_mode()
    def activity(self, spans: Tensor) -> Tensor:
        """Float32 (batch, 589, 4): the probability that anybody speaks, then that each of the local voices does.

        spans: float32 (batch, 160000) in [-1, 1].
        """
        probabilities = self.log_probabilities(spans).exp()
        speech = 1.0 - probabilities[:, :, :1]
        return torch.cat([speech, probabilities @ self._voices], 2)

    def log_probabilities(self, spans: Tensor) -> Tensor:
        """Float32 (batch, frames, 7): of each class."""
        states, _ = self._lstm(self._features(spans).transpose(1, 2))
        for number in range(2):
            states = functional.leaky_relu(self._linear(f"linear.{number}", states))
        return self._linear("classifier", states).log_softmax(2)

    def _features(self, spans: Tensor) -> Tensor:
        """Float32 (batch, 60, frames)."""
        hidden = self._normalised("sincnet.wav_norm1d", spans[:, None])
        hidden = functional.conv1d(hidden, self._filters, stride=_SINC_STRIDE).abs_()
        hidden = self._pooled(0, hidden)
        for number in (1, 2):
            name = f"sincnet.conv1d.{number}"
            hidden = functional.conv1d(hidden, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])
            hidden = self._pooled(number, hidden)
        return hidden

    def _pooled(self, number: int, hidden: Tensor) -> Tensor:
        return functional.leaky_relu(self._normalised(f"sincnet.norm1d.{number}", functional.max_pool1d(hidden, 3)))

    def _normalised(self, name: str, hidden: Tensor) -> Tensor:
        return functional.instance_norm(
            hidden, weight=self._weights[f"{name}.weight"], bias=self._weights[f"{name}.bias"]
        )

    def _linear(self, name: str, states: Tensor) -> Tensor:
        return functional.linear(states, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])


def _sinc_filters(low_hz: Tensor, band_hz: Tensor) -> Tensor:
    """Float32 (80, 1, 251): even, then odd band-pass filters between the learned frequencies.

    low_hz, band_hz: (40, 1), as they were learned.
    """
    half = _SINC_SAMPLES // 2
    low = _LOWEST_HZ + low_hz.abs()
    high = (low + _NARROWEST_HZ + band_hz.abs()).clamp(_LOWEST_HZ, _SAMPLE_RATE / 2)
    band = high - low
    window = torch.hamming_window(_SINC_SAMPLES, periodic=False, dtype=torch.float64)[:half].float()
    angle = 2 * torch.pi * torch.arange(-half, 0.0)[None] / _SAMPLE_RATE
    even = ((high @ angle).sin() - (low @ angle).sin()) / (angle / 2) * window
    odd = ((low @ angle).cos() - (high @ angle).cos()) / (angle / 2) * window
    even = torch.cat([even, 2 * band, even.flip(1)], 1)
    odd = torch.cat([odd, torch.zeros_like(band), -odd.flip(1)], 1)
    return (torch.cat([even, odd]) / (2 * band).repeat(2, 1))[:, None]
