"""The options of `transcribe`: openai-whisper's own names, with dashes or underscores, and a few more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from cli.option_types import CLIP_TIMES, TOKEN_IDS, TRACK, YES_NO, NumberOrNone
from cli.output import ALL_FORMATS
from whisper_core.models.catalogue import MODELS
from whisper_core.text.formats import FORMATS
from whisper_core.text.languages import LANGUAGES

Complete = Callable[[click.Context, click.Parameter, str], list[str]]

# Those that a line written for openai-whisper's command may have, and that change nothing here.
WITHOUT_EFFECT = ("fp16", "verbose", "prepend_punctuations", "append_punctuations")
# Not given when it is None, as openai-whisper's command spells it.
NONE_IS_UNSET = ("beam_size", "best_of", "patience", "length_penalty", "num_speakers")


def _option(name: str, *short: str, help: str, **settings: Any) -> click.Option:
    dashed = name.replace("_", "-")
    spellings = list(dict.fromkeys((f"--{dashed}", f"--{name}")))
    return click.Option([*short, *spellings, name], help=help, **settings)


def _yes_no(name: str, help: str) -> click.Option:
    return _option(name, help=help, type=YES_NO, is_flag=False, flag_value="True")


def _one_of(known: Iterable[str]) -> Complete:
    """What a shell offers; others are allowed, too."""
    return lambda _ctx, _param, begun: [name for name in known if name.startswith(begun)]


def task_options() -> list[click.Parameter]:
    """What becomes the task's options."""
    return [
        _option(
            "model", shell_complete=_one_of(MODELS),
            help="Such as tiny.en, base or turbo; see `models`. Default: DEFAULT_MODEL.",
        ),
        _option(
            "language", shell_complete=_one_of(LANGUAGES),
            help="A code such as en, or a name such as English. Default: detected.",
        ),
        _option(
            "detect_language", type=click.Choice(["start", "first_speech"]),
            help="Where the 30 seconds begin that tell the language.  [default: start]",
        ),
        _option("task", type=click.Choice(["transcribe", "translate"]), help="translate: into English."),
        _option("mode", type=click.Choice(["exact", "vad"]), help="vad: cut at pauses, faster on one long recording."),
        _option("track", type=TRACK, help="Of a film's sound tracks: its number from 1, or its language, such as de."),
        _option("device", help="auto, cpu, cuda:0 …  [default: auto]"),
        _yes_no("word_timestamps", "Also when each word is said."),
        _option("initial_prompt", help="Names and words to expect, as text that might precede the recording."),
        _yes_no("carry_initial_prompt", "Put the initial prompt before every 30 seconds."),
        _option("hotwords", help="Words that are put before every 30 seconds."),
        _yes_no("condition_on_previous_text", "False: each 30 seconds for themselves.  [default: True]"),
        _option("temperature", type=click.FloatRange(0, 1), help="Of sampling; rises where the text looks wrong."),
        _option("temperature_increment_on_fallback", type=NumberOrNone(0, 1), help="0.2, or None: never rises."),
        _option("compression_ratio_threshold", type=NumberOrNone(0, 100), help="[default: 2.4]"),
        _option("logprob_threshold", type=NumberOrNone(-100, 0), help="[default: -1]"),
        _option("no_speech_threshold", type=NumberOrNone(0, 1), help="[default: 0.6]"),
        _option(
            "hallucination_silence_threshold", type=NumberOrNone(0, 600),
            help="Skip silences longer than so many seconds around invented text; needs word timestamps.",
        ),
        _option("beam_size", type=NumberOrNone(1, 10, whole=True), help="Beams at temperature 0.  [default: none]"),
        _option("best_of", type=NumberOrNone(1, 10, whole=True), help="Samples above it.  [default: one]"),
        _option("patience", type=NumberOrNone(0, 10), help="Of beam search; needs --beam-size."),
        _option("length_penalty", type=NumberOrNone(0, 1), help="For ranking beams and samples."),
        _option("suppress_tokens", type=TOKEN_IDS, help="Ids with commas, -1 for most symbols.  [default: -1]"),
        _yes_no("vad_filter", "Leave out silence, music and noise before anything is transcribed."),
        _option("clip_timestamps", type=CLIP_TIMES, help="Only these parts: start,end,start,end … in seconds."),
        _yes_no("speakers", "Tell who says what."),
        _option("num_speakers", type=NumberOrNone(1, 50, whole=True), help="How many people are heard, if known."),
    ]  # fmt: skip


def writer_options() -> list[click.Parameter]:
    return [
        _option("max_line_width", type=click.IntRange(1), help="Characters in a line of a subtitle."),
        _option("max_line_count", type=click.IntRange(1), help="Lines in a subtitle, with --max-line-width."),
        _option("max_words_per_line", type=click.IntRange(1), help="Words in a subtitle."),
        _yes_no("highlight_words", "A subtitle for each word, in which it is underlined."),
        _yes_no("without_speakers", "Leave out who speaks."),
    ]


def output_options() -> list[click.Parameter]:
    formats = click.Choice([*FORMATS, ALL_FORMATS])
    return [
        click.Option(
            ["-f", "--format", "--output-format", "--output_format", "output_format"], type=formats,
            multiple=True, help="May be repeated; all: openai-whisper's five.  [default: all; txt on standard output]",
        ),
        click.Option(
            ["-o", "--output-dir", "--output_dir", "output_dir"], type=click.Path(file_okay=False, allow_dash=True),
            help="Where the transcripts go; - is standard output.  [default: here]",
        ),
        click.Option(["-q", "--quiet"], is_flag=True, help="No progress bars."),
    ]  # fmt: skip


def where_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--server"], envvar="WHISPER_SERVER", show_envvar=True, metavar="URL",
            help="Have this server do it; its key is read from WHISPER_API_KEY.",
        ),
        _option("model_dir", type=click.Path(file_okay=False), help="Where the weights are. Default: MODELS_DIR."),
        _option("threads", type=click.IntRange(0), help="Of the processor. Default: CPU_THREADS."),
    ]  # fmt: skip


def foreign_options() -> list[click.Parameter]:
    return [_option(name, help="", hidden=True) for name in WITHOUT_EFFECT]
