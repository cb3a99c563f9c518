"""Where somebody speaks in a recording, by silero-vad 6: a probability for every 32 ms.

The network is the package's own, run many windows at a time: the package runs one, and took 73 s for an hour of sound
where this takes 3 s (one core of the development machine). Only the weights are read from the package: importing it
would set torch's number of threads to 1.

The network carries a state from window to window. Here it is carried through half a minute at a time, with a few
seconds before as a warm-up, so that any part of a recording can be looked at without the parts before it, and several
parts at once. Measured on 16 recordings, 1 to 2 of 1000 windows then fall on the other side of 0.5.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib.metadata import distribution

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from whisper_core.audio.log_mel import Samples

WINDOW_SAMPLES = 512  # 32 ms at 16 kHz

_CONTEXT_SAMPLES = 64  # of the window before, heard with each window
_FFT_SAMPLES = 256
_FFT_HOP = 128
_FRAMES = 4  # Fourier frames in a window with its context
_STATE = 128

_BLOCK = 1024  # windows that share a state: 33 s
_WARM_UP = 128  # windows before them: 4 s
_BLOCKS_AT_ONCE = 4

# kernel 3, padding 1: (place in the weights' file, stride)
_CONVOLUTIONS = ((0, 1), (1, 2), (2, 2), (3, 1))


class SpeechScan:
    """The probability of speech in each 32 ms window of one recording, found out where it is asked for.

    samples: read in stretches of about two minutes, as they are needed. Not for use from several threads at once.
    A window's probability does not depend on what was asked before.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._parts: dict[int, npt.NDArray[np.float32]] = {}  # 0.45 MB an hour
        self.num_windows = -(-len(samples) // WINDOW_SAMPLES)

    def probabilities(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """Float32 (count,) of the windows from `first` on, or fewer at the end of the recording."""
        size = _BLOCK * _BLOCKS_AT_ONCE
        last = min(first + count, self.num_windows)
        numbers = range(first // size, -(-last // size))
        if not numbers:
            return np.zeros(0, np.float32)
        start = numbers[0] * size
        return np.concatenate([self._part(number) for number in numbers])[first - start : last - start]

    def _part(self, number: int) -> npt.NDArray[np.float32]:
        if number not in self._parts:
            self._parts[number] = self._listen(number * _BLOCK * _BLOCKS_AT_ONCE)
        return self._parts[number]

    @torch.inference_mode()
    def _listen(self, first: int) -> npt.NDArray[np.float32]:
        """A probability for each window of the blocks from `first` on; beyond the recording's end, of silence."""
        network = _network()
        blocks = min(_BLOCKS_AT_ONCE, -(-(self.num_windows - first) // _BLOCK))
        heard = self._windows(first - _WARM_UP, _WARM_UP + blocks * _BLOCK)
        features = torch.cat([network.features(windows) for windows in torch.split(heard, _BLOCK // 2)])
        probabilities = network.follow(features.unfold(0, _WARM_UP + _BLOCK, _BLOCK).transpose(1, 2))
        found: npt.NDArray[np.float32] = probabilities[:, _WARM_UP:].flatten().numpy()
        return found

    def _windows(self, first: int, count: int) -> Tensor:
        """Float32 (count, 576): windows with their context, silence before and after the recording."""
        start = first * WINDOW_SAMPLES - _CONTEXT_SAMPLES
        heard = np.zeros(_CONTEXT_SAMPLES + count * WINDOW_SAMPLES, np.float32)
        before = max(0, -start)
        present = self._samples[start + before : start + len(heard)].astype(np.float32) / 32768.0
        heard[before : before + len(present)] = present
        return torch.from_numpy(heard).unfold(0, _CONTEXT_SAMPLES + WINDOW_SAMPLES, WINDOW_SAMPLES)


class _Network:
    """silero-vad's network for 16 kHz, fp32 on the CPU.

    weights: as the package's TorchScript file names them. A convolution over so few frames is one matrix product.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self._fft_window = torch.hann_window(_FFT_SAMPLES)
        self._layers: list[tuple[Tensor, Tensor]] = []
        frames = _FRAMES
        for number, stride in _CONVOLUTIONS:
            prefix = f"_model.encoder.{number}.reparam_conv"
            matrix, frames = _as_matrix(weights[f"{prefix}.weight"], frames, stride)
            self._layers.append((weights[f"{prefix}.bias"].repeat_interleave(frames), matrix))
        self._lstm = nn.LSTM(_STATE, _STATE, batch_first=True)
        prefix = "_model.decoder.rnn."
        self._lstm.load_state_dict(
            {f"{name.removeprefix(prefix)}_l0": value for name, value in weights.items() if name.startswith(prefix)}
        )
        self._output = weights["_model.decoder.decoder.2.weight"].flatten()
        self._output_bias = weights["_model.decoder.decoder.2.bias"]

    def features(self, windows: Tensor) -> Tensor:
        """Float32 (num_windows, 128), of (num_windows, 576) samples."""
        frames = functional.pad(windows, (0, _CONTEXT_SAMPLES), "reflect").unfold(1, _FFT_SAMPLES, _FFT_HOP)
        spectrum = torch.fft.rfft(frames * self._fft_window).abs()
        features: Tensor = spectrum.transpose(1, 2).flatten(1)
        for bias, matrix in self._layers:
            features = torch.addmm(bias, features, matrix).relu_()
        return features

    def follow(self, features: Tensor) -> Tensor:
        """Probabilities of speech (batch, num_windows), of (batch, num_windows, 128) features; each row from rest."""
        states: Tensor = self._lstm(features)[0]
        return torch.sigmoid(states.relu() @ self._output + self._output_bias)


def _as_matrix(kernel: Tensor, frames: int, stride: int) -> tuple[Tensor, int]:
    """The convolution's matrix (channels_in * frames, channels_out * frames_out), and frames_out."""
    channels = kernel.shape[1]
    units = torch.eye(channels * frames).view(-1, channels, frames)
    answers = functional.conv1d(units, kernel, stride=stride, padding=1)
    return answers.flatten(1).contiguous(), answers.shape[-1]


@cache
def _network() -> _Network:
    """Read once a process. The wheel's .safetensors file would be the easier one, but holds an older network."""
    path = distribution("silero-vad").locate_file("silero_vad/data/silero_vad.jit")
    with warnings.catch_warnings():
        # torch 2.13, which is pinned, still reads TorchScript but advises against it.
        warnings.filterwarnings("ignore", message=".*torch.jit.load.*", category=DeprecationWarning)
        script = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return _Network({name: value.detach() for name, value in script.state_dict().items()})
