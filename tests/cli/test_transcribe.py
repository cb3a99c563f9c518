"""`python main.py transcribe`, with a fake engine in this process."""

from __future__ import annotations

import io
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cli.transcribe
from cli import local_system
from cli.output import sources_of
from cli.program import run
from cli.transcriber import TaskProgress
from config import Settings
from optimizer.devices.worker_process import WorkerConfig
from optimizer.system import OptimizedWhisperSystem
from tests.paths import DATA

MakeSettings = Callable[..., Settings]
Transcribe = Callable[..., int]
SOUND = DATA / json.loads((DATA / "manifest.json").read_text())[0]["file"]


def serve_nothing() -> int:
    raise AssertionError("must not serve")


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """MODELS_DIR."""
    return tmp_path / "models"


@pytest.fixture
def transcribe(
    make_settings: MakeSettings, tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Transcribe:
    """Runs the command in a folder of its own; returns the exit code."""
    monkeypatch.delenv("WHISPER_SERVER", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "models").mkdir()
    for name in ("tiny", "tiny.en"):
        (tmp_path / "models" / f"{name}.pt").write_bytes(b"not read by the fake engine")

    def settings() -> Settings:
        return make_settings(default_model="tiny.en", batch_schedule_interval=0.05, models_dir=models_dir)

    def system(settings: Settings) -> OptimizedWhisperSystem:
        worker = WorkerConfig("tests.fake_engine:FakeEngine", cpu_threads=1, in_thread=True)
        return OptimizedWhisperSystem(settings, worker=worker)

    def command(*arguments: str | Path) -> int:
        return run(["transcribe", *map(str, arguments)], serve=serve_nothing, load=settings, make_system=system)

    return command


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_format_is_written_here_and_nothing_else_is_left(transcribe: Transcribe, tmp_path: Path) -> None:
    assert transcribe(SOUND) == 0
    assert names(Path.cwd()) == [f"{SOUND.stem}.{ending}" for ending in ("json", "srt", "tsv", "txt", "vtt")]
    assert names(tmp_path) == ["here", "models"]


@pytest.mark.parametrize("models_dir", [Path("models")])
def test_weights_beside_the_program_serve_in_any_folder(
    transcribe: Transcribe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative MODELS_DIR is the default, and `whisper-scheduler` is called from wherever the recordings are."""
    monkeypatch.setattr(cli.transcribe, "PROGRAM_FOLDER", tmp_path)
    assert transcribe(SOUND, "-f", "txt") == 0
    assert names(Path.cwd()) == [f"{SOUND.stem}.txt"]


def test_a_line_for_openai_whisper_works(transcribe: Transcribe) -> None:
    line = (
        "--model tiny --language English --output_format srt --output_dir out --word_timestamps True"
        " --condition_on_previous_text False --temperature 0 --compression_ratio_threshold None --fp16 False"
        " --max_line_width 40 --verbose False --beam_size None --best_of None --suppress_tokens -1"
    )
    assert transcribe(SOUND, *line.split()) == 0
    assert names(Path("out")) == [f"{SOUND.stem}.srt"]


def test_a_bad_file_among_good_ones_is_named_and_the_others_are_done(
    transcribe: Transcribe, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("notes.mp3").write_text("no sound at all")
    assert transcribe("notes.mp3", "missing.wav", SOUND, "-f", "txt") == 1
    assert names(Path.cwd()) == [f"{SOUND.stem}.txt", "notes.mp3"]
    shown = capfd.readouterr().err
    assert "notes.mp3: " in shown
    assert "missing.wav: No such file" in shown
    assert "2 of 3 failed." in shown


def test_a_damaged_recording_is_done_as_far_as_it_goes_and_named(
    transcribe: Transcribe, capfd: pytest.CaptureFixture[str]
) -> None:
    assert transcribe(DATA / "cases" / "cut.webm", SOUND, "-f", "txt", "-q") == 0
    assert names(Path.cwd()) == ["cut.txt", f"{SOUND.stem}.txt"]
    shown = capfd.readouterr().err
    assert (
        "cut.webm: The file is cut off or damaged, so only the part that could be read is transcribed: 6.5 s" in shown
    )
    assert SOUND.name not in shown


def test_standard_input_goes_to_standard_output(
    transcribe: Transcribe, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with io.TextIOWrapper(io.BytesIO(SOUND.read_bytes())) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert transcribe("-") == 0
    assert capfd.readouterr().out.strip()
    assert names(Path.cwd()) == []


def test_several_texts_on_standard_output_keep_the_order_of_the_line(
    transcribe: Transcribe, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("bad.mp3").write_text("no sound at all")
    assert transcribe(SOUND, "bad.mp3", SOUND, "-o", "-", "-f", "vtt") == 1
    assert capfd.readouterr().out.count("WEBVTT") == 2


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--model huge", "--model: "),
        ("--language klingon", "--language: "),
        ("--language de", "--language: The model tiny.en knows only English."),
        ("--task translate", "cannot translate"),
        ("--temperature 2", "temperature"),
        ("--word_timestamps maybe", "neither True nor False"),
        ("--clip_timestamps 5,1", "ascending"),
        ("--hallucination_silence_threshold 2", "needs --word-timestamps"),
        ("--mode vad --clip_timestamps 1,2", "--mode exact"),
        ("-o - -f all", "takes one format"),
        ("--max_words_per_line 3", "needs --word-timestamps"),
        ("--highlight_words True", "needs --word-timestamps"),
        ("--patience 2", "needs --beam-size"),
        ("--beam_size 2.5", "whole number"),
        ("--suppress_tokens 60000", "at most"),
        ("--max_line_width 0", "max-line-width"),
        ("--word_timestamps True --max_line_count 2 -o - -f all", "max-line-count has no effect without"),
        (
            "--word_timestamps True --max_line_width 9 --max_line_count 2 --max_words_per_line 1 -o - -f all",
            "no effect with",
        ),
        ("--track 0", "a number from 1 to 64"),
        ("--outptu here", "No such option"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_option(
    transcribe: Transcribe, line: str, named: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert transcribe(SOUND, *line.split()) == 2
    assert named in capfd.readouterr().err
    assert names(Path.cwd()) == []


def test_a_threshold_of_none_and_a_fixed_temperature_reach_the_task(
    transcribe: Transcribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    original = OptimizedWhisperSystem.submit

    def submit(self: OptimizedWhisperSystem, *args: object, **values: object) -> object:
        seen.append(values["options"])
        return original(self, *args, **values)  # type: ignore[arg-type]

    monkeypatch.setattr(OptimizedWhisperSystem, "submit", submit)
    line = "--beam_size 3 --best_of None --suppress_tokens 7,-1 --track 01"
    line += " --logprob-threshold None --temperature 0 --temperature_increment_on_fallback None --mode vad"
    line += " -f txt -f json"
    assert transcribe(SOUND, *line.split()) == 0
    (options,) = seen
    assert (options.logprob_threshold, options.temperature, options.mode) == (None, 0, "vad")
    assert (options.beam_size, options.best_of, options.suppress_tokens, options.track) == (3, None, "-1,7", "1")
    assert names(Path.cwd()) == [f"{SOUND.stem}.vad.json", f"{SOUND.stem}.vad.txt"]
    assert json.loads(Path(f"{SOUND.stem}.vad.json").read_text())["mode"] == "vad"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_ended_cancels_its_tasks_and_leaves_nothing(
    transcribe: Transcribe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, code: int
) -> None:
    cancelled: list[str] = []
    original = local_system.LocalTranscriber.cancel

    def cancel(self: local_system.LocalTranscriber, task_id: str) -> None:
        original(self, task_id)
        cancelled.append(task_id)

    def progress(self: local_system.LocalTranscriber, task_id: str) -> TaskProgress:
        signal.raise_signal(number)  # to this thread: one to the process may be taken by another, a moment later
        raise AssertionError("the signal came too late")

    monkeypatch.setattr(local_system.LocalTranscriber, "cancel", cancel)
    monkeypatch.setattr(local_system.LocalTranscriber, "progress", progress)
    assert transcribe(SOUND, "--initial-prompt", "window_s=0.5") == code
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert len(cancelled) == 1
    assert names(tmp_path) == ["here", "models"]


def test_recordings_of_one_name_get_transcripts_of_their_own() -> None:
    stems = [source.stem for source in sources_of(["a.mp3", "b/a.wav", "c/a.wav", "d.ogg", "-"], Path("x"))]
    assert stems == ["a.mp3", "a.wav", "a.wav (2)", "d", "stdin"]


def test_a_server_that_is_not_there_cannot_start(
    transcribe: Transcribe, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.server_client.TRIES", 0)
    assert transcribe(SOUND, "--server", "127.0.0.1:1") == 3
    assert transcribe(SOUND, "--server", "http://127.0.0.1:1") == 3
    shown = capfd.readouterr().err
    assert "no address" in shown
    assert "does not answer" in shown
