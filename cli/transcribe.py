"""`python main.py transcribe FILE…`: transcripts without a page, in this process or by a running server."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import click

from cli.local_system import MakeSystem, local_transcriber
from cli.output import ALL_FORMATS, STANDARD_INPUT, FolderOutput, Output, Source, StreamOutput, sources_of
from cli.progress import ProgressBars
from cli.server_client import KEY_VARIABLE, ServerClient, ServerTranscriber
from cli.signals import ending_cleanly
from cli.transcribe_options import (
    NONE_IS_UNSET,
    foreign_options,
    output_options,
    task_options,
    where_options,
    writer_options,
)
from cli.transcriber import CANNOT_START, CannotStartError, RefusedError, Transcriber
from cli.transcription import Transcription, Wanted
from config import Settings
from whisper_core.text.writer_options import WriterOptions

ALL_DONE, SOME_FAILED = 0, 1
STANDARD_OUTPUT = "-"
PROGRAM_FOLDER = Path(__file__).resolve().parent.parent
ALL = ("txt", "vtt", "srt", "tsv", "json")  # of openai-whisper's command

Values = Mapping[str, Any]

HELP = """Transcribe recordings, with the options of openai-whisper's command.

FILE is anything that ffmpeg reads; - is standard input. Without --server or WHISPER_SERVER the work is done in this
process, on this machine's devices, and nothing is kept but the transcripts.

\b
Examples:
  python main.py transcribe interview.mp3
  python main.py transcribe *.flac --model turbo --language en -f srt -o subtitles
  python main.py transcribe film.mkv --word-timestamps --max-line-width 42 --max-line-count 2 -f vtt
  ffmpeg -i film.mkv -f wav - | python main.py transcribe - > film.txt
  WHISPER_SERVER=http://127.0.0.1:5552 python main.py transcribe lecture.m4a

\b
Exit codes: 0 all done, 1 some failed, 2 wrong usage, 3 cannot start, 130 interrupted, 143 terminated.
"""


def transcribe_command(load: Callable[[], Settings], make_system: MakeSystem) -> click.Command:
    tasks, writer = task_options(), writer_options()

    @click.pass_context
    def transcribe(ctx: click.Context, /, **values: Any) -> int:
        chosen = _task_values({option.name or "": values[option.name or ""] for option in tasks}, _given(ctx))
        cut = {option.name or "": values[option.name or ""] for option in writer}
        _check_cutting(cut, chosen)
        flags = {name: bool(cut[name]) for name in ("highlight_words", "without_speakers")}
        wanted = Wanted(chosen, _formats(values), WriterOptions(**{**cut, **flags}))
        try:
            with (
                ending_cleanly(),
                _sources(values["files"]) as sources,
                _transcriber(values, load, make_system) as transcriber,
            ):
                return _run(transcriber, wanted, sources, values)
        except CannotStartError as error:
            click.echo(str(error), err=True)
            return CANNOT_START
        except RefusedError as error:
            raise click.UsageError(f"--{(error.field or '').replace('_', '-')}: {error}", ctx) from error

    params = [*tasks, *writer, *output_options(), *where_options(), *foreign_options()]
    files = click.Argument(["files"], nargs=-1, required=True, metavar="FILE...", type=click.Path())
    return click.Command("transcribe", callback=transcribe, params=[files, *params], help=HELP)


def _run(transcriber: Transcriber, wanted: Wanted, sources: Sequence[Source], values: Values) -> int:
    output = _output(values, sources, wanted)
    with ProgressBars(len(sources), is_quiet=values["quiet"]) as bars:
        transcription = Transcription(transcriber, wanted, output, bars)
        transcription.run(sources)
    if transcription.num_failed and len(sources) > 1:
        click.echo(f"{transcription.num_failed} of {len(sources)} failed.", err=True)
    return SOME_FAILED if transcription.num_failed else ALL_DONE


def _given(ctx: click.Context) -> set[str]:
    default = click.core.ParameterSource.DEFAULT
    return {name for name in ctx.params if ctx.get_parameter_source(name) is not default}


def _task_values(values: Values, given: set[str]) -> dict[str, Any]:
    """The task options that were given. A threshold can be given as None.

    openai-whisper's command lets the temperature rise from 0 unless told otherwise; that is what a task without a
    temperature does, and one with a temperature keeps it.
    """
    unset = {name for name in NONE_IS_UNSET if values[name] is None}
    chosen = {name: value for name, value in values.items() if name in given - unset}
    increment = chosen.pop("temperature_increment_on_fallback", 0.2)
    if increment not in (None, 0.2):
        raise click.UsageError("--temperature-increment-on-fallback must be 0.2 or None.")
    if increment is None:
        chosen.setdefault("temperature", 0.0)
    elif chosen.get("temperature") == 0:
        del chosen["temperature"]
    if chosen.get("hallucination_silence_threshold") is not None and not chosen.get("word_timestamps"):
        raise click.UsageError("--hallucination-silence-threshold needs --word-timestamps True.")
    if "patience" in chosen and "beam_size" not in chosen:
        raise click.UsageError("--patience needs --beam-size.")
    if "num_speakers" in chosen and not chosen.get("speakers"):
        raise click.UsageError("--num-speakers needs --speakers True.")
    not_with_vad = {"hallucination_silence_threshold", "clip_timestamps"} & set(chosen) or chosen.get("vad_filter")
    if chosen.get("mode") == "vad" and not_with_vad:
        raise click.UsageError("--mode vad looks for speech itself: use --mode exact with these options.")
    return chosen


def _check_cutting(cut: Values, chosen: Values) -> None:
    for name in ("highlight_words", "max_line_count", "max_words_per_line"):
        if cut[name] and not chosen.get("word_timestamps"):
            raise click.UsageError(f"--{name.replace('_', '-')} needs --word-timestamps True.")
    if cut["max_line_count"] and not cut["max_line_width"]:
        click.echo("--max-line-count has no effect without --max-line-width.", err=True)
    elif cut["max_line_count"] and cut["max_words_per_line"]:
        click.echo("--max-words-per-line has no effect with --max-line-count.", err=True)


def _formats(values: Values) -> list[str]:
    wanted = values["output_format"] or [("txt" if _goes_to_stream(values) else ALL_FORMATS)]
    formats = list(dict.fromkeys(name for each in wanted for name in (ALL if each == ALL_FORMATS else [each])))
    if _goes_to_stream(values) and len(formats) > 1:
        raise click.UsageError("Standard output takes one format: name it with --format.")
    return formats


def _goes_to_stream(values: Values) -> bool:
    if values["output_dir"] is None:
        return list(values["files"]) == [STANDARD_INPUT]
    return bool(values["output_dir"] == STANDARD_OUTPUT)


def _output(values: Values, sources: Sequence[Source], wanted: Wanted) -> Output:
    if _goes_to_stream(values):
        return StreamOutput(sys.stdout.buffer, sources)
    folder = Path(values["output_dir"] or ".")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotStartError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    return FolderOutput(folder, wanted.options.get("mode", "exact"))


@contextmanager
def _sources(files: Sequence[str]) -> Iterator[list[Source]]:
    if files.count(STANDARD_INPUT) > 1:
        raise click.UsageError("Standard input can be read only once.")
    if STANDARD_INPUT not in files:
        yield sources_of(files, None)
        return
    if sys.stdin.isatty():
        raise click.UsageError("Standard input is a terminal: pipe a recording into it.")
    with tempfile.NamedTemporaryFile(prefix="transcribe-") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        yield sources_of(files, Path(file.name))


@contextmanager
def _transcriber(values: Values, load: Callable[[], Settings], make_system: MakeSystem) -> Iterator[Transcriber]:
    if values["server"]:
        with ServerClient(values["server"], os.environ.get(KEY_VARIABLE, "")) as client:
            client.call("GET", "api/models")  # before anything is sent: is it there, and is the key valid?
            yield ServerTranscriber(client)
        return
    settings = load()
    own = {"models_dir": _models_dir(values["model_dir"], settings), "cpu_threads": values["threads"]}
    settings = settings.model_copy(update={name: value for name, value in own.items() if value is not None})
    system: AbstractContextManager[Transcriber] = local_transcriber(settings, make_system)
    with system as transcriber:
        yield transcriber


def _models_dir(named: str | None, settings: Settings) -> Path:
    """The weights beside the program serve in any folder: without this they would be fetched again into each."""
    if named:
        return Path(named)
    here, beside_program = settings.models_dir, PROGRAM_FOLDER / settings.models_dir
    return here if here.is_dir() or not beside_program.is_dir() else beside_program
