"""Finding ffmpeg, and its process: one that hangs, cannot be started, is stopped, or runs beside others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from errors import (
    AudioTooLongError,
    DecodeTimeoutError,
    FfmpegMissingError,
    ShuttingDownError,
    TranscriptionServerError,
    UnsupportedMediaError,
)
from tests.whisper_core.audio.decoding import GENEROUS, assert_refused
from tests.whisper_core.audio.media_corpus import TONE_SECONDS, MediaCorpus, fake_ffmpeg
from whisper_core.audio.decode import AudioDecoder, DecodeLimits, find_ffmpeg


@pytest.mark.proves("F18")
@pytest.mark.parametrize(
    ("script", "timeout_s", "error"),
    [
        ("sleep 1000 & sleep 1000", 0.3, DecodeTimeoutError),
        ("setsid sleep 1000 & while :; do :; done", 0.5, DecodeTimeoutError),
        ("while :; do :; done", 3.0, DecodeTimeoutError),
        ("while :; do echo message >&2; done", 0.5, DecodeTimeoutError),
        ("exec cat /dev/zero", 30.0, AudioTooLongError),
        ("x=a; while :; do x=$x$x; done", 30.0, UnsupportedMediaError),
    ],
    ids=["hangs", "forks", "computes", "complains", "prints", "eats memory"],
)
def test_an_ffmpeg_that_does_not_end_is_ended_with_everything_it_started(
    corpus: MediaCorpus,
    destination: Path,
    new_children: Callable[[], list[psutil.Process]],
    script: str,
    timeout_s: float,
    error: type[TranscriptionServerError],
) -> None:
    endless = fake_ffmpeg(destination.parent.parent, script)
    decoder = AudioDecoder(endless, DecodeLimits(max_seconds=60, timeout_s=timeout_s, memory_bytes=200 << 20))

    assert_refused(decoder, corpus.tone(), destination, error)
    assert new_children() == []


def test_an_ffmpeg_that_used_up_its_processor_time_is_told_from_a_damaged_file(
    corpus: MediaCorpus, destination: Path
) -> None:
    killed = fake_ffmpeg(destination.parent.parent, "echo sound; kill -XCPU $$")
    assert_refused(AudioDecoder(killed, GENEROUS), corpus.tone(), destination, DecodeTimeoutError)


def test_an_ffmpeg_that_closes_its_output_and_stays_is_given_up(corpus: MediaCorpus, destination: Path) -> None:
    staying = fake_ffmpeg(destination.parent.parent, "exec >&- 2>&-; sleep 1000")
    decoder = AudioDecoder(staying, DecodeLimits(max_seconds=60, timeout_s=30))
    assert_refused(decoder, corpus.tone(), destination, DecodeTimeoutError)


def test_an_ffmpeg_that_cannot_be_started_is_a_missing_ffmpeg(
    corpus: MediaCorpus, destination: Path, tmp_path: Path
) -> None:
    gone = AudioDecoder(tmp_path / "gone", GENEROUS)
    assert_refused(gone, corpus.tone(), destination, FfmpegMissingError)


def test_stop_ends_running_decodes_and_refuses_later_ones(
    corpus: MediaCorpus, destination: Path, tmp_path: Path, new_children: Callable[[], list[psutil.Process]]
) -> None:
    started = threading.Event()
    decoder = AudioDecoder(fake_ffmpeg(tmp_path, "echo sound; sleep 1000"), GENEROUS)
    outcomes: list[BaseException] = []

    def note_the_first_samples(nbytes: int) -> bool:
        started.set()
        return True

    def decode() -> None:
        try:
            decoder.decode(corpus.tone(), destination, may_keep=note_the_first_samples)
        except ShuttingDownError as error:
            outcomes.append(error)

    corpus.tone()
    thread = threading.Thread(target=decode)
    thread.start()
    assert started.wait(10)
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
