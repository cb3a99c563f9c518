"""Files that people have: several tracks, late or interrupted sound, odd channels, wrong lengths. See docs/files.md."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from errors import TrackNotFoundError
from tests.paths import DATA
from tests.whisper_core.audio.media_corpus import TONE_SECONDS, MediaCorpus, wav_header
from whisper_core.audio.decode import AudioDecoder, DecodedAudio, find_ffmpeg

CASES = DATA / "cases"
RATE = 16000
Samples = npt.NDArray[np.int16]
Decode = Callable[[Path], tuple[DecodedAudio, Samples]]


@pytest.fixture
def decode(decoder: AudioDecoder, destination: Path) -> Decode:
    def decode_it(source: Path) -> tuple[DecodedAudio, Samples]:
        return decoder.decode(source, destination), np.fromfile(destination, "<i2")

    return decode_it


def tone(seconds: float = 1.0, frequency: float = 440) -> Samples:
    return (8000 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)).astype("<i2")


def wav(corpus: MediaCorpus, name: str, samples: Samples) -> Path:
    """samples: (frames, channels)."""
    return corpus.write(name, wav_header(samples.nbytes, channels=samples.shape[1]) + samples.astype("<i2").tobytes())


def on_channel(channel: int, channels: int) -> Samples:
    samples = np.zeros((RATE, channels), "<i2")
    samples[:, channel] = tone()
    return samples


def loudness(samples: Samples) -> float:
    return float(np.sqrt(np.square(samples.astype(np.float64)).mean()))


def as_usual(source: Path) -> bytes:
    """What openai-whisper has of it."""
    command = [str(find_ffmpeg()), "-nostdin", "-v", "error", "-threads", "0", "-i", str(source), "-f", "s16le"]
    return subprocess.run(
        [*command, "-ac", "1", "-acodec", "pcm_s16le", "-ar", "16000", "-"], check=True, capture_output=True, timeout=60
    ).stdout


@pytest.mark.parametrize("kind", ["mono", "stereo", "surround", "mp3", "video"])
def test_an_ordinary_file_has_openai_whispers_own_samples(corpus: MediaCorpus, decode: Decode, kind: str) -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, (RATE, 6)).astype("<i2")
    channels = {"mono": 1, "stereo": 2, "surround": 6}
    if kind in channels:
        source = wav(corpus, f"{kind}.wav", noise[:, : channels[kind]])
    else:
        source = corpus.tone("mp3") if kind == "mp3" else corpus.video_with_sound()
    assert decode(source)[1].tobytes() == as_usual(source)


SOME_FORMATS = ["ac3", "dts", "thd", "rm", "adx", "voc", "mxf", "nut"]
OTHER_FORMATS = ["eac3", "tta", "mp2", "w64", "caf", "au", "mka", "mov", "3gp", "wv", "f4v", "vob", "ircam", "sox"]


@pytest.mark.parametrize(
    "extension", [*SOME_FORMATS, *(pytest.param(other, marks=pytest.mark.slow) for other in OTHER_FORMATS)]
)
def test_other_formats_that_ffmpeg_decodes_are_read(corpus: MediaCorpus, decode: Decode, extension: str) -> None:
    decoded, _ = decode(corpus.encoded(extension))
    assert (decoded.seconds, decoded.is_truncated) == (pytest.approx(TONE_SECONDS, abs=0.2), False)


def test_the_default_track_is_taken(decode: Decode) -> None:
    """As players and openai-whisper do: the second of two, 6.1 s long."""
    assert decode(CASES / "tracks.mkv")[0].seconds == pytest.approx(6.08, abs=0.1)


@pytest.mark.parametrize(("name", "seconds", "chosen"), [("1", 7.1, 1), ("2", 6.08, 2), ("de", 1.5, 2), ("en", 3, 1)])
def test_a_track_is_chosen_by_number_or_language(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, name: str, seconds: float, chosen: int
) -> None:
    source = CASES / "tracks.mkv" if name.isdigit() else corpus.bilingual()
    decoded = decoder.decode(source, destination, track=name)
    assert decoded.seconds == pytest.approx(seconds, abs=0.1)
    assert [track.index for track in decoded.tracks if track.is_chosen] == [chosen]


def test_a_track_that_a_file_does_not_have_is_refused(decoder: AudioDecoder, destination: Path) -> None:
    with pytest.raises(TrackNotFoundError, match=r"There are 2: 1, 2 \(the default\)"):
        decoder.decode(CASES / "tracks.mkv", destination, track="3")
    assert not destination.exists()


def test_sound_that_starts_late_stays_late(decode: Decode) -> None:
    decoded, samples = decode(CASES / "late.mp4")
    assert decoded.seconds == pytest.approx(12.0, abs=0.1)
    assert np.flatnonzero(samples)[0] / RATE == pytest.approx(4.84, abs=0.1)
    assert decoded.late_s == pytest.approx(4.84, abs=0.1)


def test_a_hole_in_the_timestamps_is_silence(decode: Decode) -> None:
    decoded, samples = decode(CASES / "gap.mkv")
    assert decoded.seconds == pytest.approx(23.15, abs=0.1)
    assert not decoded.is_truncated
    assert loudness(samples[int(7.3 * RATE) : int(16.9 * RATE)]) < 1
    assert loudness(samples[int(17.2 * RATE) :]) > 300


def test_a_clock_that_jumps_back_loses_nothing(corpus: MediaCorpus, decode: Decode) -> None:
    """Two recordings in one file, as some recorders go on after a pause."""
    one = corpus.tone("webm").read_bytes()
    decoded, samples = decode(corpus.write("twice.webm", one + one))
    assert decoded.seconds == pytest.approx(2 * TONE_SECONDS, abs=0.2)
    assert loudness(samples[int(TONE_SECONDS * 1.2 * RATE) :]) > 300


@pytest.mark.parametrize("channels", [3, 6, 9, 24, 64])
def test_a_voice_on_any_channel_is_heard(corpus: MediaCorpus, decode: Decode, channels: int) -> None:
    """Also on the fourth of six, which is taken for the one for low frequencies, and without positions."""
    for channel in (min(3, channels - 1), channels - 1):
        decoded, samples = decode(wav(corpus, f"c{channel}of{channels}.wav", on_channel(channel, channels)))
        assert decoded.seconds == pytest.approx(1, abs=0.01)
        assert loudness(samples) > loudness(tone()) / channels / 4


def test_opposite_phases_do_not_cancel(corpus: MediaCorpus, decode: Decode) -> None:
    _, samples = decode(wav(corpus, "opposite.wav", np.stack((tone(), -tone()), axis=1)))
    assert loudness(samples) == pytest.approx(loudness(tone()), rel=0.1)


def test_silence_stays_silence(corpus: MediaCorpus, decode: Decode) -> None:
    silence = np.zeros((RATE, 2), "<i2")
    assert loudness(decode(wav(corpus, "silent.wav", silence))[1]) == 0
    loud = np.stack((tone(), tone()), axis=1)
    assert decode(wav(corpus, "late.wav", np.concatenate((silence, loud))))[0].late_s == 0  # it is the file's own


@pytest.mark.parametrize("name", ["crashed", "joined"])
def test_a_wav_whose_header_is_out_of_date_is_read_to_its_end(corpus: MediaCorpus, decode: Decode, name: str) -> None:
    """Of a recorder that crashed, and of two files joined by `cat`."""
    half = tone(2).tobytes()
    behind = half if name == "crashed" else wav_header(len(half)) + half
    decoded, _ = decode(corpus.write(f"{name}.wav", wav_header(len(half)) + half + behind))
    assert (decoded.seconds, decoded.is_truncated) == (pytest.approx(4, abs=0.01), False)


def test_a_wav_that_was_written_into_a_pipe_is_not_damaged(corpus: MediaCorpus, decode: Decode) -> None:
    """Its length was not known when the header was written. The last packet is an incomplete one."""
    decoded, samples = decode(corpus.write("piped.wav", wav_header(2**32 - 1) + tone(1.9).tobytes()))
    assert (decoded.is_truncated, decoded.declared_s) == (False, None)
    assert np.array_equal(samples, tone(1.9))


@pytest.mark.parametrize("behind", [b"LIST\x04\0\0\0INFO", b"ID3\4" + bytes(90_000), b"\0" * 100])
def test_what_follows_the_sound_of_a_wav_is_not_heard(corpus: MediaCorpus, decode: Decode, behind: bytes) -> None:
    sound = tone(2).tobytes()
    assert decode(corpus.write("tail.wav", wav_header(len(sound)) + sound + behind))[0].sample_count == 2 * RATE


@pytest.mark.parametrize(("name", "readable_s", "declared_s"), [("cut.webm", 6.5, 13.16), ("hole.mp3", 9.15, 13.15)])
def test_a_damaged_file_says_how_much_of_it_was_read(
    decode: Decode, name: str, readable_s: float, declared_s: float
) -> None:
    decoded, _ = decode(CASES / name)
    assert decoded.is_truncated
    assert decoded.seconds == pytest.approx(readable_s, abs=0.1)
    assert decoded.declared_s == pytest.approx(declared_s, abs=0.1)


def test_a_film_longer_than_its_sound_is_not_damaged(corpus: MediaCorpus, decode: Decode) -> None:
    decoded, _ = decode(corpus.long_film_with_short_sound())
    assert (decoded.is_truncated, decoded.declared_s) == (False, None)
    assert decoded.seconds == pytest.approx(TONE_SECONDS, abs=0.2)


def test_a_title_that_speaks_of_damage_damages_nothing(corpus: MediaCorpus, decode: Decode) -> None:
    assert not decode(corpus.titled("corrupt, truncated\n[error] partial file"))[0].is_truncated
