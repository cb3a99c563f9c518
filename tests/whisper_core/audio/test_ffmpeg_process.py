"""Finding ffmpeg, and its process: one that hangs, cannot be started, is stopped, or runs beside others."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from errors import AudioTooLongError, DecodeTimeoutError, FfmpegMissingError, ShuttingDownError, UnsupportedMediaError
from tests.whisper_core.audio.decoding import GENEROUS, assert_refused
from tests.whisper_core.audio.media_corpus import TONE_SECONDS, MediaCorpus, fake_ffmpeg
from whisper_core.audio.decode import AudioDecoder, DecodeLimits, find_ffmpeg


def test_a_hanging_ffmpeg_is_given_up_with_everything_it_started(
    corpus: MediaCorpus, destination: Path, new_children: Callable[[], list[psutil.Process]]
) -> None:
    hanging = fake_ffmpeg(destination.parent.parent, "sleep 1000 & sleep 1000")
    decoder = AudioDecoder(hanging, DecodeLimits(max_seconds=60, timeout_s=0.3))

    assert_refused(decoder, corpus.tone(), destination, DecodeTimeoutError)
    assert new_children() == []


def test_an_ffmpeg_that_closes_its_output_and_stays_is_given_up(corpus: MediaCorpus, destination: Path) -> None:
    staying = fake_ffmpeg(destination.parent.parent, "exec >&- 2>&-; sleep 1000")
    decoder = AudioDecoder(staying, DecodeLimits(max_seconds=60, timeout_s=30))
    assert_refused(decoder, corpus.tone(), destination, DecodeTimeoutError)


def test_an_endless_ffmpeg_stops_at_the_limit(corpus: MediaCorpus, destination: Path) -> None:
    endless = fake_ffmpeg(destination.parent.parent, "exec cat /dev/zero")
    decoder = AudioDecoder(endless, DecodeLimits(max_seconds=60, timeout_s=30))
    assert_refused(decoder, corpus.tone(), destination, AudioTooLongError)


def test_an_ffmpeg_that_cannot_be_started_is_a_missing_ffmpeg(
    corpus: MediaCorpus, destination: Path, tmp_path: Path
) -> None:
    gone = AudioDecoder(tmp_path / "gone", GENEROUS)
    assert_refused(gone, corpus.tone(), destination, FfmpegMissingError)


def test_stop_ends_running_decodes_and_refuses_later_ones(
    corpus: MediaCorpus, destination: Path, tmp_path: Path, new_children: Callable[[], list[psutil.Process]]
) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    decoder = AudioDecoder(fake_ffmpeg(tmp_path, f"echo go > {started}; sleep 1000"), GENEROUS)
    outcomes: list[BaseException] = []

    def decode() -> None:
        try:
            decoder.decode(corpus.tone(), destination)
        except ShuttingDownError as error:
            outcomes.append(error)

    corpus.tone()
    thread = threading.Thread(target=decode)
    thread.start()
    assert started.read_text() == "go\n"
    decoder.stop()
    thread.join(10)

    assert len(outcomes) == 1
    assert_refused(decoder, corpus.tone(), destination, ShuttingDownError)
    assert new_children() == []


def test_many_decodes_at_once_leave_no_process_and_no_open_file(
    corpus: MediaCorpus, decoder: AudioDecoder, tmp_path: Path, new_children: Callable[[], list[psutil.Process]]
) -> None:
    source, bad = corpus.tone(), corpus.text_named_mp3()
    counts: list[int] = []

    def decode(number: int) -> None:
        for turn in range(3):
            counts.append(decoder.decode(source, tmp_path / f"{number}-{turn}.pcm").sample_count)
            with pytest.raises(UnsupportedMediaError):
                decoder.decode(bad, tmp_path / "bad.pcm")

    _in_threads(decode, 1)
    before = psutil.Process().num_fds()
    _in_threads(decode, 4)

    assert set(counts) == {int(TONE_SECONDS * 16000)}
    assert len(counts) == 15
    assert psutil.Process().num_fds() == before
    assert new_children() == []


def _in_threads(action: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=action, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_ffmpeg_is_found_by_path_by_name_and_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = fake_ffmpeg(tmp_path, "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_ffmpeg(str(own)) == own
    assert find_ffmpeg("fake-ffmpeg") == own
    assert find_ffmpeg().is_absolute()


def test_an_override_that_is_no_program_is_a_missing_ffmpeg(tmp_path: Path) -> None:
    not_executable = tmp_path / "ffmpeg"
    not_executable.write_text("")
    for override in (str(not_executable), str(tmp_path / "none"), "no-such-ffmpeg"):
        with pytest.raises(FfmpegMissingError):
            find_ffmpeg(override)
