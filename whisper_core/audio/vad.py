"""Where somebody speaks in a recording: the probability of speech in every 32 ms, by silero-vad 6.

The network is silero-vad's, but many windows are computed at a time. The package computes one, and took 73 s for an
hour of sound where this takes 3 s (one core of the development machine). Only the weights are read from the package,
because importing it would set torch's number of threads to 1.

The network carries a state from window to window. Here the state starts afresh every half minute, after a few seconds
of warm-up, so any part of a recording can be computed without the parts before it, and several parts at once. On 16
recordings this moved 1 to 2 of 1000 windows to the other side of 0.5.
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
from whisper_core.common.units import HOP_SAMPLES

WINDOW_SAMPLES = 512  # 32 ms at 16 kHz

_CONTEXT_SAMPLES = 64  # of the window before, which the network needs with each window
_FFT_SAMPLES = 256
_FFT_HOP = 128
_FRAMES = 4  # Fourier frames in a window with its context
_STATE = 128

_BLOCK = 1024  # windows that share a state: 33 s
_WARM_UP = 128  # windows before them: 4 s
_BLOCKS_AT_ONCE = 4

_IS_SPEECH = 0.5
_FIRST_WORDS = 8  # windows, a quarter of a second
_LONGEST_SEARCH = 30 * 60 * 16_000 // WINDOW_SAMPLES

# kernel 3, padding 1: (place in the weights' file, stride)
_CONVOLUTIONS = ((0, 1), (1, 2), (2, 2), (3, 1))


class SpeechScan:
    """The probability of speech in each 32 ms window of one recording, computed where it is requested.

    samples: read about two minutes at a time, as they are needed. Only for one thread at a time.
    A window's probability does not depend on what was requested before.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._parts: dict[int, npt.NDArray[np.float32]] = {}  # 0.45 MB an hour
        self.num_windows = -(-len(samples) // WINDOW_SAMPLES)

    def probabilities(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """Float32 (count,): those of the windows from `first` on; fewer at the end of the recording."""
        size = _BLOCK * _BLOCKS_AT_ONCE
        last = min(first + count, self.num_windows)
        numbers = range(first // size, -(-last // size))
        if not numbers:
            return np.zeros(0, np.float32)
        start = numbers[0] * size
        return np.concatenate([self._part(number) for number in numbers])[first - start : last - start]

    def _part(self, number: int) -> npt.NDArray[np.float32]:
        if number not in self._parts:
            self._parts[number] = self._compute(number * _BLOCK * _BLOCKS_AT_ONCE)
        return self._parts[number]

    @torch.inference_mode()
    def _compute(self, first: int) -> npt.NDArray[np.float32]:
        """Those of a part's windows, in whole blocks; after the end of the recording they are of silence."""
        network = _network()
        blocks = min(_BLOCKS_AT_ONCE, -(-(self.num_windows - first) // _BLOCK))
        all_windows = self._windows(first - _WARM_UP, _WARM_UP + blocks * _BLOCK)
        features = torch.cat([network.features(windows) for windows in torch.split(all_windows, _BLOCK // 2)])
        probabilities = network.probabilities(features.unfold(0, _WARM_UP + _BLOCK, _BLOCK).transpose(1, 2))
        found: npt.NDArray[np.float32] = probabilities[:, _WARM_UP:].flatten().numpy()
        return found

    def _windows(self, first: int, count: int) -> Tensor:
        """Float32 (count, 576): windows with their context, and silence before and after the recording."""
        start = first * WINDOW_SAMPLES - _CONTEXT_SAMPLES
        read = np.zeros(_CONTEXT_SAMPLES + count * WINDOW_SAMPLES, np.float32)
        before = max(0, -start)
        present = self._samples[start + before : start + len(read)].astype(np.float32) / 32768.0
        read[before : before + len(present)] = present
        return torch.from_numpy(read).unfold(0, _CONTEXT_SAMPLES + WINDOW_SAMPLES, WINDOW_SAMPLES)


def first_speech(samples: Samples) -> int:
    """The mel frame where somebody first speaks for a quarter of a second; 0 when nobody does in the first half hour.

    Half an hour takes 1.5 s, for which the caller waits.
    """
    scan = SpeechScan(samples)
    run = 0  # windows of speech up to here
    for first in range(0, min(scan.num_windows, _LONGEST_SEARCH), _BLOCK):
        for number, probability in enumerate(scan.probabilities(first, _BLOCK).tolist(), first):
            run = run + 1 if probability >= _IS_SPEECH else 0
            if run == _FIRST_WORDS:
                return (number + 1 - run) * WINDOW_SAMPLES // HOP_SAMPLES
    return 0


class _Network:
    """silero-vad's network for 16 kHz, fp32 on the CPU.

    weights: named as in the package's TorchScript file. A convolution over so few frames is one matrix product.
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
        """Float32 (num_windows, 128) from (num_windows, 576) samples."""
        frames = functional.pad(windows, (0, _CONTEXT_SAMPLES), "reflect").unfold(1, _FFT_SAMPLES, _FFT_HOP)
        spectrum = torch.fft.rfft(frames * self._fft_window).abs()
        features: Tensor = spectrum.transpose(1, 2).flatten(1)
        for bias, matrix in self._layers:
            features = torch.addmm(bias, features, matrix).relu_()
        return features

    def probabilities(self, features: Tensor) -> Tensor:
        """(batch, num_windows) from (batch, num_windows, 128) features. The state is zero at the start of each row."""
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
    """Read once per process. The wheel's .safetensors file would be easier to read, but it is an older network."""
    path = distribution("silero-vad").locate_file("silero_vad/data/silero_vad.jit")
    with warnings.catch_warnings():
        # torch 2.13, which is pinned, still reads TorchScript but warns that it is deprecated.
        warnings.filterwarnings("ignore", message=".*torch.jit.load.*", category=DeprecationWarning)
        script = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return _Network({name: value.detach() for name, value in script.state_dict().items()})
