"""What a voice is like: 192 numbers for a second or two of sound, by the network CAM++.

A small two-dimensional convolution network, then a densely connected time delay network in which each layer is gated by
what the whole stretch and each second of it sound like, then mean and deviation over time.
Every normalisation that follows a convolution is folded into it.
Source: 3D-Speaker campplus (Apache-2.0, Copyright 3D-Speaker); arXiv 2303.00332.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

EMBEDDING = 192

_EPSILON = 1e-5  # of the normalisations
_BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers, dilation
_GATE_FRAMES = 100
_RESIDUALS = ("head.layer1.0", "head.layer1.1", "head.layer2.0", "head.layer2.1")


class CamPlusPlus:
    """The network in fp32 on the CPU. weights: named as in 3D-Speaker's checkpoint."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._folded: dict[str, tuple[Tensor, Tensor]] = {}
        self._scales: dict[str, tuple[Tensor, Tensor]] = {}
        for number in (1, 2):
            self._fold(f"head.conv{number}", f"head.bn{number}")
        for name in _RESIDUALS:
            for number in (1, 2):
                self._fold(f"{name}.conv{number}", f"{name}.bn{number}")
            if f"{name}.shortcut.0.weight" in weights:
                self._fold(f"{name}.shortcut.0", f"{name}.shortcut.1")
        self._fold("xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
        for block, (layers, _) in enumerate(_BLOCKS, 1):
            for layer in range(1, layers + 1):
                name = f"xvector.block{block}.tdnnd{layer}"
                self._keep_scale(f"{name}.nonlinear1.batchnorm")
                self._fold(f"{name}.linear1", f"{name}.nonlinear2.batchnorm")
            self._keep_scale(f"xvector.transit{block}.nonlinear.batchnorm")
        self._keep_scale("xvector.out_nonlinear.batchnorm")
        self._fold("xvector.dense.linear", "xvector.dense.nonlinear.batchnorm")

    @torch.inference_mode()
    def embeddings(self, features: Tensor) -> Tensor:
        """Float32 (batch, 192), each of length 1. features: float32 (batch, frames, 80), filter banks."""
        features = features - features.mean(1, keepdim=True)
        hidden = self._dense_layers(self._head(features.transpose(1, 2)))
        pooled = torch.cat([hidden.mean(2), hidden.std(2)], 1)
        weight, bias = self._folded["xvector.dense.linear"]
        return functional.normalize(functional.linear(pooled, weight[:, :, 0], bias))

    def _head(self, features: Tensor) -> Tensor:
        """(batch, 320, frames) from (batch, 80, frames)."""
        hidden = self._convolved("head.conv1", features[:, None]).relu_()
        for name in _RESIDUALS:
            stride = 2 if name.endswith("0") else 1
            inner = self._convolved(f"{name}.conv1", hidden, stride).relu_()
            shortcut = f"{name}.shortcut.0"
            if shortcut in self._folded:
                hidden = self._convolved(shortcut, hidden, stride)
            hidden = self._convolved(f"{name}.conv2", inner).add_(hidden).relu_()
        return self._convolved("head.conv2", hidden, 2).relu_().flatten(1, 2)

    def _convolved(self, name: str, hidden: Tensor, stride: int = 1) -> Tensor:
        weight, bias = self._folded[name]
        return functional.conv2d(hidden, weight, bias, stride=(stride, 1), padding=weight.shape[2] // 2)

    def _dense_layers(self, hidden: Tensor) -> Tensor:
        weight, bias = self._folded["xvector.tdnn.linear"]
        hidden = functional.conv1d(hidden, weight, bias, stride=2, padding=2).relu_()
        for block, (layers, dilation) in enumerate(_BLOCKS, 1):
            hidden = self._dense_block(f"xvector.block{block}", hidden, layers, dilation)
            hidden = self._scaled(f"xvector.transit{block}.nonlinear.batchnorm", hidden)
            hidden = functional.conv1d(hidden, self._weights[f"xvector.transit{block}.linear.weight"])
        return self._scaled("xvector.out_nonlinear.batchnorm", hidden)

    def _dense_block(self, name: str, hidden: Tensor, layers: int, dilation: int) -> Tensor:
        """Each layer reads what came in and what all layers before it found, and adds its own."""
        batch, known, frames = hidden.shape
        growth = self._weights[f"{name}.tdnnd1.cam_layer.linear_local.weight"].shape[0]
        everything = hidden.new_empty(batch, known + layers * growth, frames)
        everything[:, :known] = hidden
        for layer in range(1, layers + 1):
            found = self._gated_layer(f"{name}.tdnnd{layer}", everything[:, :known], dilation)
            everything[:, known : known + growth] = found
            known += growth
        return everything

    def _gated_layer(self, name: str, hidden: Tensor, dilation: int) -> Tensor:
        weight, bias = self._folded[f"{name}.linear1"]
        hidden = functional.conv1d(self._scaled(f"{name}.nonlinear1.batchnorm", hidden), weight, bias).relu_()
        gate = self._gate(f"{name}.cam_layer", hidden)
        local = self._weights[f"{name}.cam_layer.linear_local.weight"]
        return functional.conv1d(hidden, local, padding=dilation, dilation=dilation).mul_(gate)

    def _gate(self, name: str, hidden: Tensor) -> Tensor:
        frames = hidden.shape[2]
        seconds = functional.avg_pool1d(hidden, _GATE_FRAMES, _GATE_FRAMES, ceil_mode=True)
        context = hidden.mean(2, keepdim=True) + seconds
        for number, activation in ((1, torch.relu), (2, torch.sigmoid)):
            layer = f"{name}.linear{number}"
            context = activation(
                functional.conv1d(context, self._weights[f"{layer}.weight"], self._weights[f"{layer}.bias"])
            )
        return context.repeat_interleave(_GATE_FRAMES, 2)[:, :, :frames]

    def _scaled(self, name: str, hidden: Tensor) -> Tensor:
        """Normalised, and without what is below zero."""
        scale, shift = self._scales[name]
        return torch.addcmul(shift[:, None], hidden, scale[:, None]).relu_()

    def _fold(self, convolution: str, normalisation: str) -> None:
        scale, shift = self._affine(normalisation)
        weight = self._weights[f"{convolution}.weight"]
        scaled = weight * scale.view(-1, *[1] * (weight.dim() - 1))
        self._folded[convolution] = (scaled.contiguous(), shift)

    def _keep_scale(self, normalisation: str) -> None:
        self._scales[normalisation] = self._affine(normalisation)

    def _affine(self, name: str) -> tuple[Tensor, Tensor]:
        """Factor and summand of a normalisation, computed in fp64."""
        mean, variance = self._weights[f"{name}.running_mean"].double(), self._weights[f"{name}.running_var"].double()
        scale = (variance + _EPSILON).rsqrt()
        shift = torch.zeros_like(mean)
        if f"{name}.weight" in self._weights:
            scale = scale * self._weights[f"{name}.weight"].double()
            shift = self._weights[f"{name}.bias"].double()
        return scale.float(), (shift - mean * scale).float()
