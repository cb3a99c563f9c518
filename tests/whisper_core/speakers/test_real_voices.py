"""The real networks on people's voices, as far as their weights are here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.paths import MODELS_DIR, ROOT
from whisper_core.audio.decode import AudioDecoder, DecodeLimits, find_ffmpeg
from whisper_core.models.speaker_weights import locate_speaker_weights
from whisper_core.speakers.memory import memory_needed
from whisper_core.speakers.networks import SpeakerNetworks, load_speaker_networks
from whisper_core.speakers.pipeline import find_turns

pytestmark = pytest.mark.models

Samples = np.ndarray[Any, np.dtype[np.int16]]


@pytest.fixture(scope="module")
def networks() -> SpeakerNetworks:
    """Where `make test` put them; without them the test is skipped, except where CI must have them."""
    if locate_speaker_weights(MODELS_DIR) is None:
        message = "the weights of the speakers' networks are not here: `make test` fetches them"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return load_speaker_networks(MODELS_DIR)


@pytest.fixture(scope="module")
def voices(recordings: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Samples]:
    decoder = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=600, timeout_s=60))
    folder: Path = tmp_path_factory.mktemp("voices")
    found = {}
    for entry in recordings:
        pcm = folder / f"{entry['file']}.pcm"
        decoder.decode(entry["path"], pcm)
        found[entry["file"]] = np.fromfile(pcm, np.int16)
    return found


def test_two_people_in_turn(networks: SpeakerNetworks, voices: dict[str, Samples]) -> None:
    reader = voices["librivox-0870.flac"]
    caller = voices["dev-minute-01.flac"][: 7 * 16_000]
    again = voices["librivox-0930.flac"]
    sound = np.concatenate([reader, caller, again])

    turns = find_turns(sound, networks)

    spoken = [0.0, 0.0]
    for turn in turns:
        middle = (turn.start + turn.end) / 2 * 16_000
        is_reader = not len(reader) <= middle < len(reader) + len(caller)
        assert turn.speaker == (0 if is_reader else 1)
        spoken[turn.speaker] += turn.end - turn.start
    assert spoken[0] > 0.75 * (len(reader) + len(again)) / 16_000
    assert spoken[1] > 4


def test_a_sound_without_speech_has_no_turns(networks: SpeakerNetworks) -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, 5 * 16_000).astype(np.float32)
    assert find_turns(noise, networks) == ()
    assert find_turns(np.zeros(5 * 16_000, np.int16), networks) == ()


def test_it_is_found_again_bit_for_bit_and_torch_stays_as_it_was(
    networks: SpeakerNetworks, voices: dict[str, Samples]
) -> None:
    before = torch.get_num_threads()
    sound = voices["librivox-0880.flac"]
    assert find_turns(sound, networks, num_speakers=1) == find_turns(sound, networks, num_speakers=1) != ()
    assert torch.get_num_threads() == before
    assert not torch.is_inference_mode_enabled()


MEASURE = """
import sys
from pathlib import Path
import numpy as np, psutil, torch
from benchmarks.child_process import forget_peak, peak_bytes
from whisper_core.speakers.networks import load_speaker_networks
from whisper_core.speakers.pipeline import find_turns
torch.set_num_threads(1)
sound = np.tile(np.fromfile(sys.argv[1], np.int16), 12)
before = psutil.Process().memory_info().rss
forget_peak()
find_turns(sound, load_speaker_networks(Path(sys.argv[2])))
print(peak_bytes() - before, len(sound) / 16_000)
"""


@pytest.mark.slow
def test_memory_stays_below_what_is_promised(
    networks: SpeakerNetworks, voices: dict[str, Samples], tmp_path: Path
) -> None:
    """Twelve minutes, in a process of its own."""
    sound = tmp_path / "sound.pcm"
    voices["dev-minute-01.flac"].tofile(sound)
    command = [sys.executable, "-c", MEASURE, str(sound), str(MODELS_DIR)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=280)
    grown, seconds = (float(each) for each in done.stdout.split())
    assert grown < memory_needed(seconds)
