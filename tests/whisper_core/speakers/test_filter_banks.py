"""Our filter banks beside those of kaldi-native-fbank, which computes Kaldi's."""

from __future__ import annotations

import kaldi_native_fbank
import numpy as np
import torch

from whisper_core.speakers.filter_banks import filter_banks


def kaldis_own(sound: np.ndarray) -> np.ndarray:
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = 16_000
    options.mel_opts.num_bins = 80
    computed = kaldi_native_fbank.OnlineFbank(options)
    computed.accept_waveform(16_000, sound.tolist())
    computed.input_finished()
    return np.stack([computed.get_frame(number) for number in range(computed.num_frames_ready)])


def test_they_are_kaldis() -> None:
    generator = np.random.default_rng(3)
    time = np.arange(24_000) / 16_000
    sound = (0.3 * np.sin(2 * np.pi * 440 * time) + generator.normal(0, 0.01, len(time)) + 0.02).astype(np.float32)
    sound[8000:9000] = 0

    ours = filter_banks(torch.from_numpy(sound)[None])[0].numpy()

    expected = kaldis_own(sound)
    assert ours.shape == expected.shape == (148, 80)
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_a_frame_depends_on_its_own_samples_alone() -> None:
    sound = torch.from_numpy(np.random.default_rng(4).normal(0, 0.1, (1, 4000)).astype(np.float32))
    np.testing.assert_allclose(filter_banks(sound)[:, 5:8], filter_banks(sound[:, 800:1520]), atol=1e-5)
