"""Decoding any file: good ones completely, bad ones with the right error, hostile ones without harm."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from errors import (
    AudioTooLongError,
    DecodeTimeoutError,
    DiskFullError,
    EmptyFileError,
    FfmpegMissingError,
    NoAudioStreamError,
    ShuttingDownError,
    SourceMissingError,
    TranscriptionServerError,
    UnsupportedMediaError,
)
from tests.whisper_core.audio.media_corpus import (
    CANARY,
    GOOD_FORMATS,
    TONE_SECONDS,
    MediaCorpus,
    canary_server,
    fake_ffmpeg,
)
from whisper_core.audio.decode import FORMATS, AudioDecoder, DecodeLimits, ffmpeg_command, find_ffmpeg
from whisper_core.audio.sandbox import STDERR_BYTES, SandboxLimits, SandboxTimeoutError, sandboxed

GENEROUS = DecodeLimits(max_seconds=12 * 3600.0, timeout_s=60.0)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> MediaCorpus:
    return MediaCorpus(tmp_path_factory.mktemp("media"))


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    return folder / "task.pcm"


@pytest.fixture
def decoder() -> AudioDecoder:
    return AudioDecoder(find_ffmpeg(), GENEROUS)


def assert_refused(
    decoder: AudioDecoder, source: Path, destination: Path, error_class: type[TranscriptionServerError]
) -> None:
    """Decoding raises exactly that, without words of ffmpeg's or paths of the machine, and leaves nothing behind."""
    with pytest.raises(error_class) as caught:
        decoder.decode(source, destination)
    assert type(caught.value) is error_class
    assert str(source.parent) not in caught.value.message
    assert list(destination.parent.iterdir()) == []


@pytest.mark.parametrize("extension", GOOD_FORMATS)
def test_every_usual_format_is_decoded_in_full(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, extension: str
) -> None:
    decoded = decoder.decode(corpus.tone(extension), destination)

    assert decoded.seconds == pytest.approx(TONE_SECONDS, abs=0.2)
    assert not decoded.is_truncated
    assert destination.stat().st_size == 2 * decoded.sample_count
    assert list(destination.parent.iterdir()) == [destination]


def test_samples_are_those_that_openai_whisper_reads(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whisper.audio import load_audio

    (tmp_path / "ffmpeg").symlink_to(find_ffmpeg())
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    source = corpus.tone("mp3")

    decoder.decode(source, destination)

    np.testing.assert_array_equal(np.fromfile(destination, dtype="<i2") / np.float32(32768), load_audio(str(source)))


def test_a_video_gives_its_sound(corpus: MediaCorpus, decoder: AudioDecoder, destination: Path) -> None:
    assert decoder.decode(corpus.video_with_sound(), destination).seconds == pytest.approx(TONE_SECONDS, abs=0.2)


@pytest.mark.parametrize("extension", ["mp4", "png", "m3u8", "txt"])
def test_content_decides_and_the_name_does_not(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, extension: str
) -> None:
    source = corpus.renamed(corpus.tone("wav"), extension)
    assert decoder.decode(source, destination).seconds == pytest.approx(TONE_SECONDS)


def test_a_name_that_looks_like_an_option_or_a_protocol_is_only_a_name(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    for name in ("-i", "concat:a|b", "a%03d.wav"):
        source = corpus.write(name, corpus.tone().read_bytes())
        assert decoder.decode(source, destination).seconds == pytest.approx(TONE_SECONDS)


def test_an_empty_file_and_a_missing_file_are_told_apart(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    assert_refused(decoder, corpus.write("empty", b""), destination, EmptyFileError)
    assert_refused(decoder, corpus.folder / "not-there", destination, SourceMissingError)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("extension", ["bin", "mp3", "wav"])
def test_random_bytes_are_not_media(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, seed: int, extension: str
) -> None:
    source = corpus.random_bytes(size=20_000 + 90_000 * seed, seed=seed, extension=extension)
    assert_refused(decoder, source, destination, UnsupportedMediaError)


def test_other_files_under_a_sound_name_are_not_media(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    programme = corpus.write("programme.wav", Path("/bin/sh").read_bytes()[:60_000])
    for source in (corpus.text_named_mp3(), programme, corpus.write("zeros.mp3", bytes(80_000))):
        assert_refused(decoder, source, destination, UnsupportedMediaError)


def test_a_film_or_a_picture_without_sound_says_so(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    images = [corpus.image(extension) for extension in ("png", "jpg", "gif", "webp", "bmp", "tiff")]
    for source in (corpus.video_without_sound(), corpus.empty_wav(), *images):
        assert_refused(decoder, source, destination, NoAudioStreamError)


@pytest.mark.parametrize("percent", [10, 50, 90])
@pytest.mark.parametrize("extension", ["wav", "mp3", "webm", "flac"])
def test_a_cut_recording_gives_its_readable_part_and_says_that_it_is_cut(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, extension: str, percent: int
) -> None:
    whole = corpus.tone(extension, 20)

    decoded = decoder.decode(corpus.cut(whole, percent), destination)

    assert decoded.is_truncated
    assert 0 < decoded.seconds <= 20 * percent / 100 + 0.5


@pytest.mark.parametrize("percent", [10, 50, 90])
def test_a_cut_mp4_is_readable_only_when_its_index_was_at_the_start(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path, percent: int
) -> None:
    assert_refused(decoder, corpus.cut(corpus.tone("m4a"), percent), destination, UnsupportedMediaError)
    assert decoder.decode(corpus.cut(corpus.fast_start_mp4(), max(percent, 50)), destination).is_truncated


def test_length_is_counted_and_not_taken_from_the_header(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    decoded = decoder.decode(corpus.lying_wav(), destination)
    assert (decoded.sample_count, decoded.is_truncated) == (16000, True)


def test_the_limit_of_length_is_exact(corpus: MediaCorpus, destination: Path) -> None:
    source = corpus.tone("wav", 2)
    exactly = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=2, timeout_s=60))
    too_short = AudioDecoder(find_ffmpeg(), DecodeLimits(max_seconds=1.9999, timeout_s=60))

    assert exactly.decode(source, destination).sample_count == 32000
    destination.unlink()
    assert_refused(too_short, source, destination, AudioTooLongError)


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


@pytest.fixture
def new_children() -> Callable[[], list[psutil.Process]]:
    """Child processes that this test has started; those of the whole session are older."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: [child for child in psutil.Process().children(recursive=True) if child not in before]


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


def test_the_childs_surroundings_are_bare(tmp_path: Path) -> None:
    """No environment, no files of ours, an empty folder, and the limits."""
    script = "cat /proc/$$/environ; echo --; ls -A; echo --; ls /proc/$$/fd; echo --; cat /proc/$$/limits"
    limits = SandboxLimits(memory_bytes=2 << 30, timeout_s=10)
    with open(os.devnull) as inherited, sandboxed([str(fake_ffmpeg(tmp_path, script))], limits) as child:
        os.set_inheritable(inherited.fileno(), True)
        environment, folder, descriptors, known = b"".join(child.stdout()).decode().split("--\n")
        assert child.wait() == 0

    assert environment == ""
    assert folder == ""
    assert set(descriptors.split()) <= {"0", "1", "2", "10"}  # 10: the shell's own, on its script
    rows = {line[:26].strip(): line[26:].split()[0] for line in known.splitlines()}
    assert rows["Max address space"] == str(2 << 30)
    assert (rows["Max cpu time"], rows["Max file size"], rows["Max open files"]) == ("20", "0", "64")
    assert rows["Max core file size"] == "0"


def test_memory_beyond_the_limit_ends_the_child_only(tmp_path: Path) -> None:
    greedy = fake_ffmpeg(tmp_path, "x=a; while :; do x=$x$x; done")
    with sandboxed([str(greedy)], SandboxLimits(memory_bytes=100 << 20, timeout_s=30)) as child:
        assert b"".join(child.stdout()) == b""
        assert child.wait() != 0


def test_only_the_last_error_messages_are_kept(tmp_path: Path) -> None:
    chatty = fake_ffmpeg(tmp_path, "head -c 3000000 /dev/zero >&2; echo the end >&2")
    with sandboxed([str(chatty)], SandboxLimits(memory_bytes=2 << 30, timeout_s=30)) as child:
        assert list(child.stdout()) == []
        assert child.wait() == 0
    assert len(child.errors) == STDERR_BYTES
    assert child.errors.endswith(b"the end\n")


def test_a_grandchild_does_not_outlive_the_sandbox(tmp_path: Path) -> None:
    forking = fake_ffmpeg(tmp_path, "sleep 1000 & echo $!; wait")
    limits = SandboxLimits(memory_bytes=2 << 30, timeout_s=0.5)
    with sandboxed([str(forking)], limits) as child:
        lines = child.stdout()
        grandchild = int(next(lines))
        with pytest.raises(SandboxTimeoutError):
            next(lines)
    deadline = time.monotonic() + 5  # a killed process still counts as running until the kernel has got round to it
    while is_running(grandchild) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(grandchild)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_full_disk_is_reported_and_leaves_nothing(
    corpus: MediaCorpus, decoder: AudioDecoder, destination: Path
) -> None:
    destination.with_name("task.pcm.tmp").symlink_to("/dev/full")
    assert_refused(decoder, corpus.tone("wav", 20), destination, DiskFullError)


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
