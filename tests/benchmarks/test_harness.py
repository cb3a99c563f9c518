"""The parts of the benchmarks that figures rest on; no figure is tested."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.child_process import Child, Request, Sound
from benchmarks.document import replace_between_markers, require_markers, table
from benchmarks.measurement import Text
from benchmarks.one_by_one import Counter, one_by_one
from benchmarks.recordings import Recording, long_recording, one_minute_recordings, read_recordings, short_clips
from benchmarks.run_engine import drive
from benchmarks.scores import normalised_error_rate, share_of_equal_segments, share_of_identical_texts
from tests.paths import DATA
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript
from whisper_core.worker.engine_protocol import TaskObserver
from whisper_core.worker.messages import RunTask


def recording(name: str, text: str | None = "red cat", seconds: float = 60.0) -> Recording:
    return Recording(name, Path(name), Path(name), seconds, "en", text, (name,))


def text(*segments: str) -> Text:
    parts = tuple((float(place), place + 1.0, words) for place, words in enumerate(segments))
    return Text("".join(segments), parts)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Recording], list[Recording], Path]:
    """Those of the repository, sixteen of a minute, and the folder that they are in."""
    scratch = tmp_path_factory.mktemp("scratch")
    recordings = read_recordings(DATA, scratch)
    return recordings, one_minute_recordings(recordings, 16, scratch), scratch


def test_sixteen_one_minute_recordings_are_all_different(made: tuple[list[Recording], list[Recording], Path]) -> None:
    minutes = made[1]
    assert len({minute.samples_path.read_bytes() for minute in minutes}) == 16
    assert all(45 <= minute.seconds <= 85 for minute in minutes)
    assert all(minute.file.is_file() and minute.text for minute in minutes)


def test_a_joined_recording_says_what_its_parts_say(made: tuple[list[Recording], list[Recording], Path]) -> None:
    recordings, minutes, _ = made
    said = {one.name: one.text for one in recordings}
    joined = next(minute for minute in minutes if len(minute.parts) == 2)
    assert joined.text == " ".join(str(said[part]) for part in joined.parts)


def test_the_long_recording_is_joined_where_there_is_none(made: tuple[list[Recording], list[Recording], Path]) -> None:
    recordings, minutes, scratch = made
    assert 480 <= long_recording(recordings, minutes, 480, scratch).seconds < 580


def test_more_recordings_than_can_be_made_are_refused(made: tuple[list[Recording], list[Recording], Path]) -> None:
    recordings, _, scratch = made
    with pytest.raises(ValueError, match="500 one-minute recordings"):
        one_minute_recordings(recordings, 500, scratch)


def test_forty_short_clips_are_all_different(made: tuple[list[Recording], list[Recording], Path]) -> None:
    recordings, _, scratch = made
    clips = short_clips(recordings, 40, scratch)
    assert len({clip.samples_path.read_bytes() for clip in clips}) == len({clip.name for clip in clips}) == 40
    assert all(2.5 <= clip.seconds <= 10 and clip.text and clip.file.is_file() for clip in clips)
    assert all(clip.seconds == pytest.approx(clip.samples_path.stat().st_size / 32_000, abs=0.01) for clip in clips)
    with pytest.raises(ValueError, match="500 clips"):
        short_clips(recordings, 500, scratch)


def test_segments_are_equal_by_times_and_text() -> None:
    upstream = {"a": text("one", "two"), "b": text("three", "four")}
    ours = {"a": text("one", "two"), "b": text("three", "for")}
    assert share_of_equal_segments(ours, upstream) == 0.75
    assert share_of_identical_texts(ours, upstream) == 0.5


def test_recordings_without_a_text_have_no_error_rate() -> None:
    heard = {"a": text("Red, bat!"), "b": text("anything")}
    assert normalised_error_rate([recording("a"), recording("b", None)], heard) == 0.5


def test_a_child_answers_by_lines_whatever_its_libraries_print() -> None:
    with Child(sys.executable, "tests.benchmarks.echo_child") as child:
        for mode in ("exact", "vad"):
            answer = child.measure([Sound("a", "a.pcm")], mode)
            assert answer.texts == {"a": Text("a.pcm", ((0.0, 1.5, mode),))}
            assert (answer.windows, answer.peak_bytes > 0) == (1, True)


def test_recordings_one_by_one_are_counted_from_the_request_on(tmp_path: Path) -> None:
    samples = tmp_path / "a.pcm"
    np.array([0, 16384, -32768], dtype="<i2").tofile(samples)
    counter, heard = Counter(), []

    def transcribe(sound: np.ndarray) -> Text:
        counter.windows += 1
        heard.append(sound.tolist())
        return text("red")

    answer = one_by_one(transcribe, counter)
    found = answer(Request((Sound("a", str(samples)), Sound("b", str(samples))), "exact"))
    assert heard[1:] == [[0.0, 0.5, -1.0]] * 2  # the first one is the warm-up
    assert (set(found.texts), found.windows, found.tokens) == ({"a", "b"}, 2, 0)
    assert one_by_one(transcribe)(Request((), "exact")).windows is None


def test_a_child_that_ends_is_an_error() -> None:
    with Child(sys.executable, "benchmarks.no_such_module") as child, pytest.raises((RuntimeError, BrokenPipeError)):
        child.measure([Sound("a", "a.pcm")])


def test_tables_go_between_their_markers(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("before\n<!-- speed:begin -->\nold\n<!-- speed:end -->\nafter\n")
    replace_between_markers(document, "speed", table(["a", "b"], [["1", "2"]]))
    expected = "before\n<!-- speed:begin -->\n| a | b |\n| --- | ---: |\n| 1 | 2 |\n<!-- speed:end -->\nafter\n"
    assert document.read_text() == expected
    require_markers(document, ["speed"])
    with pytest.raises(ValueError, match="other:begin"):
        replace_between_markers(document, "other", "")
    with pytest.raises(ValueError, match="other:begin"):
        require_markers(document, ["speed", "other"])


class TwoSlots:
    """An engine that ends its oldest task at every turn and counts how many it had."""

    slots = 2

    def __init__(self, end: Callable[[TaskObserver], None]) -> None:
        self._end = end
        self._tasks: list[TaskObserver] = []
        self.most = 0

    def start(self, command: RunTask, observer: TaskObserver) -> None:
        self._tasks.append(observer)
        self.most = max(self.most, len(self._tasks))

    @property
    def is_busy(self) -> bool:
        return bool(self._tasks)

    def advance(self) -> None:
        self._end(self._tasks.pop(0))


def commands(count: int) -> list[RunTask]:
    return [RunTask(str(number), "", "toy", "", TranscribeOptions()) for number in range(count)]


def test_the_engine_gets_as_many_tasks_as_it_has_slots() -> None:
    engine = TwoSlots(lambda observer: observer.done(Transcript("", "en", ()), 0))
    observers = drive(engine, commands(5))  # type: ignore[arg-type]
    assert [observer.result().language for observer in observers] == ["en"] * 5
    assert engine.most == 2


def test_a_failed_task_raises_its_own_error() -> None:
    engine = TwoSlots(lambda observer: observer.failed(OSError("no such file")))
    (observer,) = drive(engine, commands(1))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="no such file"):
        observer.result()
