# mypy: disable-error-code="operator, index, union-attr"
# Modules are named as in the checkpoints, so they are found as attributes that mypy cannot know.
"""The two networks as their authors write them, out of torch's own modules, with random weights.

Sources: pyannote.audio's PyanNet with asteroid-filterbanks' ParamSincFB, and 3D-Speaker's CAM++.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class PyanNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.sincnet = nn.Module()
        self.sincnet.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        first = nn.Module()
        first.filterbank = nn.Module()
        first.filterbank.low_hz_ = nn.Parameter(torch.linspace(30, 6000, 40)[:, None])
        first.filterbank.band_hz_ = nn.Parameter(torch.linspace(-40, 900, 40)[:, None])
        self.sincnet.conv1d = nn.ModuleList([first, nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)])
        self.sincnet.norm1d = nn.ModuleList([nn.InstanceNorm1d(size, affine=True) for size in (80, 60, 60)])
        self.lstm = nn.LSTM(60, 128, num_layers=4, batch_first=True, bidirectional=True)
        self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
        self.classifier = nn.Linear(128, 7)

    def forward(self, waveforms: Tensor) -> Tensor:
        sincnet = self.sincnet
        outputs = sincnet.wav_norm1d(waveforms[:, None])
        for number in range(3):
            convolution = sincnet.conv1d[number]
            if number == 0:
                filters = sinc_filters(convolution.filterbank.low_hz_, convolution.filterbank.band_hz_)
                outputs = functional.conv1d(outputs, filters, stride=10).abs()
            else:
                outputs = convolution(outputs)
            outputs = functional.leaky_relu(sincnet.norm1d[number](functional.max_pool1d(outputs, 3, stride=3)))
        outputs, _ = self.lstm(outputs.transpose(1, 2))
        for linear in self.linear:
            outputs = functional.leaky_relu(linear(outputs))
        return functional.log_softmax(self.classifier(outputs), -1)


def sinc_filters(low_hz: Tensor, band_hz: Tensor) -> Tensor:
    """One filter at a time, by its formula in fp64: differences of two sine integrals, windowed."""
    times = np.arange(-125, 126) / 16_000
    window = np.hamming(251)
    made = []
    for kind in ("even", "odd"):
        for low_value, band_value in zip(low_hz.detach().double(), band_hz.detach().double(), strict=True):
            low = 50 + abs(float(low_value))
            high = min(8000.0, low + 50 + abs(float(band_value)))
            with np.errstate(invalid="ignore", divide="ignore"):
                if kind == "even":
                    filter_ = (np.sin(2 * np.pi * high * times) - np.sin(2 * np.pi * low * times)) / (np.pi * times)
                else:
                    filter_ = (np.cos(2 * np.pi * low * times) - np.cos(2 * np.pi * high * times)) / (np.pi * times)
            filter_ *= window
            filter_[125] = 2 * (high - low) if kind == "even" else 0
            made.append(filter_ / (2 * (high - low)))
    return torch.tensor(np.stack(made), dtype=torch.float32)[:, None]


def nonlinear(channels: int) -> nn.Sequential:
    made = nn.Sequential()
    made.add_module("batchnorm", nn.BatchNorm1d(channels))
    made.add_module("relu", nn.ReLU())
    return made


class ResBlock(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(32, 32, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(32, 32, 1, stride=(stride, 1), bias=False), nn.BatchNorm2d(32))

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.layer1 = nn.Sequential(ResBlock(2), ResBlock(1))
        self.layer2 = nn.Sequential(ResBlock(2), ResBlock(1))
        self.conv2 = nn.Conv2d(32, 32, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x.unsqueeze(1))))
        out = functional.relu(self.bn2(self.conv2(self.layer2(self.layer1(out)))))
        return out.reshape(out.shape[0], out.shape[1] * out.shape[2], out.shape[3])


class CamLayer(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(128, 32, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(128, 64, 1)
        self.linear2 = nn.Conv1d(64, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        segment = functional.avg_pool1d(x, 100, 100, ceil_mode=True)
        segment = segment.unsqueeze(-1).expand(*segment.shape, 100).reshape(*segment.shape[:-1], -1)[..., : x.shape[-1]]
        context = x.mean(-1, keepdim=True) + segment
        return self.linear_local(x) * torch.sigmoid(self.linear2(functional.relu(self.linear1(context))))


class DenseLayer(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = nonlinear(channels)
        self.linear1 = nn.Conv1d(channels, 128, 1, bias=False)
        self.nonlinear2 = nonlinear(128)
        self.cam_layer = CamLayer(dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))


class DenseBlock(nn.ModuleDict):
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.values():
            x = torch.cat([x, layer(x)], 1)
        return x


class Transit(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nonlinear = nonlinear(channels)
        self.linear = nn.Conv1d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.nonlinear(x))


class CamPlusPlusModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = Head()
        self.xvector = nn.ModuleDict()
        tdnn = nn.Module()
        tdnn.linear = nn.Conv1d(320, 128, 5, stride=2, padding=2, bias=False)
        tdnn.nonlinear = nonlinear(128)
        self.xvector["tdnn"] = tdnn
        channels = 128
        for number, (layers, dilation) in enumerate(((12, 1), (24, 2), (16, 2)), 1):
            self.xvector[f"block{number}"] = DenseBlock(
                {f"tdnnd{layer + 1}": DenseLayer(channels + 32 * layer, dilation) for layer in range(layers)}
            )
            channels += 32 * layers
            self.xvector[f"transit{number}"] = Transit(channels)
            channels //= 2
        self.xvector["out_nonlinear"] = nonlinear(channels)
        dense = nn.Module()
        dense.linear = nn.Conv1d(2 * channels, 192, 1, bias=False)
        dense.nonlinear = nn.Sequential()
        dense.nonlinear.add_module("batchnorm", nn.BatchNorm1d(192, affine=False))
        self.xvector["dense"] = dense

    def forward(self, features: Tensor) -> Tensor:
        x = self.head(features.transpose(1, 2))
        x = self.xvector["tdnn"].nonlinear(self.xvector["tdnn"].linear(x))
        for number in (1, 2, 3):
            x = self.xvector[f"transit{number}"](self.xvector[f"block{number}"](x))
        x = self.xvector["out_nonlinear"](x)
        x = torch.cat([x.mean(-1), x.std(-1, unbiased=True)], 1)
        dense = self.xvector["dense"]
        return dense.nonlinear(dense.linear(x.unsqueeze(-1)).squeeze(-1))


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """With statistics and weights of normalisations that are not 0 and 1."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm1d) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()
