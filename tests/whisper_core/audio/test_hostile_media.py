"""Files made to harm: endless ones, absurd ones, and playlists that ask ffmpeg to open something else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest

from errors import AudioTooLongError, NoAudioStreamError, UnsupportedMediaError
from tests.whisper_core.audio.decoding import GENEROUS, assert_refused
from tests.whisper_core.audio.media_corpus import CANARY, TONE_SECONDS, MediaCorpus, canary_server, fake_ffmpeg
from whisper_core.audio.decode import AudioDecoder, DecodeLimits, ffmpeg_command, find_ffmpeg
from whisper_core.audio.formats import REFUSED, TAKEN, WHITELIST
from whisper_core.audio.treatment import Treatment


@pytest.mark.proves("F15")
def test_what_is_too_long_is_stopped_by_counted_samples_with_flat_memory(
    corpus: MediaCorpus, destination: Path
) -> None:
    """Two days of sound, a day of silence in few bytes, and one second that claims to be ten hours."""
    decoder = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=1800, timeout_s=60))
    before = psutil.Process().memory_info().rss
    for source in (corpus.sparse_wav(hours=48), corpus.silence(hours=24)):
        assert_refused(decoder, source, destination, AudioTooLongError)
    assert decoder.decode(corpus.lying_wav(), destination).seconds == 1.0
    assert psutil.Process().memory_info().rss - before < 50_000_000


@pytest.mark.proves("F16")
def test_bombs_are_refused_or_bounded_and_others_are_served(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    """Each ends in its documented way, this process does not grow, and a good recording beside them is decoded."""
    before = psutil.Process().memory_info().rss
    assert_refused(decoder, corpus.many_channels(), destination, UnsupportedMediaError)
    assert decoder.decode(corpus.many_streams(1000), destination).seconds == pytest.approx(0.2, abs=0.1)
    for large in (corpus.many_chapters(20_000), corpus.large_tag(100_000_000)):
        assert decoder.decode(large, destination).seconds == pytest.approx(TONE_SECONDS, abs=0.2)
    measured = decoder.decode(corpus.silence(hours=11), destination, may_keep=lambda nbytes: nbytes < 10_000_000)
    assert (measured.is_kept, measured.seconds) == (False, pytest.approx(11 * 3600))
    assert decoder.decode(corpus.tone(), destination).seconds == pytest.approx(TONE_SECONDS)
    assert list(destination.parent.iterdir()) == [destination]
    assert psutil.Process().memory_info().rss - before < 50_000_000


def test_playlists_open_nothing(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the canary's server nor its file is accessed, in whatever way the file tries it."""
    canary_file = corpus.write("canary.wav", corpus.tone().read_bytes() + CANARY.encode())
    with canary_server() as canary:
        for source in corpus.hostile_playlists(canary_file, canary.url):
            with pytest.raises((UnsupportedMediaError, NoAudioStreamError)) as caught:
                decoder.decode(source, destination)
            assert CANARY not in caught.value.message
        assert canary.requests == []
    assert CANARY not in caplog.text
    assert list(destination.parent.iterdir()) == []


def test_without_the_safeguards_the_playlists_would_reach_the_canary(corpus: MediaCorpus) -> None:
    """Shows that the corpus works: an unprotected ffmpeg does what the hostile files ask for."""
    with canary_server() as canary:
        playlist = corpus.hostile_playlists(corpus.tone(), canary.url)[0]
        command = [str(find_ffmpeg()), "-nostdin", "-protocol_whitelist", "file,http,tcp", "-i", str(playlist)]
        subprocess.run([*command, "-f", "null", "-"], check=False, timeout=60, capture_output=True)
        assert canary.requests != []


@pytest.mark.proves("S19")
def test_ffmpeg_is_called_with_every_safeguard() -> None:
    command = ffmpeg_command(Path("/opt/ffmpeg"), 43200.0)
    expected = (
        "/opt/ffmpeg -nostdin -hide_banner -nostats -loglevel level+info -protocol_whitelist fd,pipe "
        f"-format_whitelist {WHITELIST} -max_streams 64 -i fd: -vn -sn -dn -threads 1 -filter_threads 1 -t 43201 "
        f"-af {Treatment().filters} -f s16le -ac 1 -ar 16000 pipe:1"
    )
    assert command == expected.split(" ")


def test_an_ffmpeg_that_cannot_read_a_descriptor_is_told_its_name(corpus: MediaCorpus, destination: Path) -> None:
    """As before version 6; what it says is noticed once."""
    old = fake_ffmpeg(
        destination.parent.parent,
        'case "$*" in *"-i fd:"*) echo "fd:: Protocol not found" >&2; exit 1;; esac; head -c 32000 /proc/self/fd/0',
    )
    decoder = AudioDecoder(old, GENEROUS)
    source = corpus.write("private.bin", bytes(64_000))
    source.chmod(0o600)
    assert decoder.decode(source, destination).sample_count == 16_000
    assert decoder.decode(source, destination).sample_count == 16_000


def test_what_is_refused_is_the_exception_and_each_format_is_decided() -> None:
    """Of the installed ffmpeg's: a new one needs a decision. Playlists, scripts and images are never read."""
    command = [str(find_ffmpeg()), "-hide_banner", "-demuxers"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    listed = [(line[:4], line[4:].split()[0].split(",")) for line in lines if line.startswith(" D")]
    formats = [names for flags, names in listed if "d" not in flags and names != ["="]]
    undecided = [names for names in formats if set(names).isdisjoint(TAKEN + REFUSED)]
    assert [names for names in undecided if not names[0].endswith("_pipe")] == []
    assert set(TAKEN) <= {name for names in formats for name in names}
    assert set(TAKEN).isdisjoint(REFUSED)
    assert {"hls", "dash", "concat", "sdp", "rtp", "image2", "webm_dash_manifest", "libgme"} <= set(REFUSED)
