"""Files made to harm: endless ones, absurd ones, and playlists that ask ffmpeg to open something else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import pytest

from errors import AudioTooLongError, NoAudioStreamError, UnsupportedMediaError
from tests.whisper_core.audio.decoding import assert_refused
from tests.whisper_core.audio.media_corpus import CANARY, MediaCorpus, canary_server
from whisper_core.audio.decode import FORMATS, AudioDecoder, DecodeLimits, ffmpeg_command, find_ffmpeg


def test_a_day_of_silence_in_few_bytes_stops_at_the_limit_with_flat_memory(
    corpus: MediaCorpus, destination: Path
) -> None:
    decoder = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=1800, timeout_s=60))
    bomb = corpus.silence(hours=24)
    before = psutil.Process().memory_info().rss

    assert_refused(decoder, bomb, destination, AudioTooLongError)
    assert psutil.Process().memory_info().rss - before < 50_000_000


def test_a_recording_of_two_days_stops_at_the_limit(corpus: MediaCorpus, destination: Path) -> None:
    decoder = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=600, timeout_s=60))
    assert_refused(decoder, corpus.sparse_wav(hours=48), destination, AudioTooLongError)


def test_absurd_channels_and_rates_are_refused(corpus: MediaCorpus, decoder: AudioDecoder, destination: Path) -> None:
    assert_refused(decoder, corpus.many_channels(), destination, UnsupportedMediaError)


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


def test_ffmpeg_is_called_with_every_safeguard() -> None:
    command = ffmpeg_command(Path("/opt/ffmpeg"), Path("/data/media/01J"), 43200.0)
    expected = (
        "/opt/ffmpeg -nostdin -hide_banner -loglevel warning -protocol_whitelist file,pipe -format_whitelist "
        "aac,aiff,amr,ape,asf,au,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,wav,w64,webm,wv -max_streams 64 "
        "-i file:/data/media/01J -map 0:a:0 -vn -sn -dn -threads 1 -filter_threads 1 -t 43201 -f s16le -ac 1 -ar 16000 "
        "pipe:1"
    )
    assert command == expected.split(" ")


def test_the_installed_ffmpeg_knows_every_whitelisted_format() -> None:
    command = [str(find_ffmpeg()), "-hide_banner", "-demuxers"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()
    known = {name for line in lines if line.startswith(" D") for name in line.split()[1].split(",")}
    assert set(FORMATS.split(",")) <= known
