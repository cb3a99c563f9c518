"""Kaldi's log mel filter banks, which the voice network was trained on.

Frames of 25 ms every 10 ms, whole ones only; each without its mean, pre-emphasised, under Povey's window. No dither.
Source: kaldi feature-fbank; parity with kaldi-native-fbank in tests/whisper_core/speakers/test_filter_banks.py.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

BANDS = 80

_SAMPLE_RATE = 16_000
_FRAME = 400  # samples: 25 ms
_SHIFT = 160  # samples: 10 ms
_FFT = 512
_LOWEST_HZ = 20.0
_PRE_EMPHASIS = 0.97
_FLOOR = torch.finfo(torch.float32).eps


def filter_banks(sound: Tensor) -> Tensor:
    """Float32 (batch, frames, 80) of sound (batch, num_samples) in [-1, 1], 400 samples or more.

    A frame is computed from its own samples alone, so it does not matter what is cut off where.
    """
    frames = sound.unfold(1, _FRAME, _SHIFT)
    frames = frames - frames.mean(2, keepdim=True)
    before = torch.cat([frames[:, :, :1], frames[:, :, :-1]], 2)
    frames = (frames - _PRE_EMPHASIS * before) * _window()
    power = torch.fft.rfft(functional.pad(frames, (0, _FFT - _FRAME))).abs().square()
    logarithms: Tensor = (power @ _bands()).clamp_min(_FLOOR).log()
    return logarithms


@cache
def _window() -> Tensor:
    return torch.hann_window(_FRAME, periodic=False, dtype=torch.float64).pow(0.85).float()


@cache
def _bands() -> Tensor:
    """Float32 (257, 80): triangles that are even on the mel scale."""
    edges = torch.linspace(
        float(_mel(torch.tensor(_LOWEST_HZ))), float(_mel(torch.tensor(_SAMPLE_RATE / 2))), BANDS + 2
    )
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    mel = _mel(torch.arange(_FFT // 2) * (_SAMPLE_RATE / _FFT))[None]
    triangles = torch.minimum((mel - low) / (middle - low), (high - mel) / (high - middle)).clamp_min(0)
    return functional.pad(triangles, (0, 1)).T.contiguous()  # nothing of the highest frequency, as in Kaldi


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log(1.0 + hertz / 700.0)
