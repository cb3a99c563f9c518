"""OpenAI's form fields, read into the options of one of our tasks and into what the answer shall look like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from errors import BadRequestError, InvalidOptionError
from optimizer.intake.option_values import OptionTexts
from optimizer.intake.task_form import OPTION_FIELDS, TaskForm
from web.adapters.answer_headers import quotable
from web.adapters.openai.model_names import WHISPER_1, own_model
from web.adapters.task_form import task_form
from web.tasks.uploads import Fields
from whisper_core.text import formats
from whisper_core.text.options import MAX_PROMPT_CHARACTERS, TaskKind
from whisper_core.text.writer_options import PLAIN, WriterOptions

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
DIARIZED = "diarized_json"  # only of transcriptions
# Not OpenAI's, and only for subtitles: how many of each there may be at most, in openai-whisper's writer options
CUE_LIMITS = {"max_line_width": 1000, "max_line_count": 100, "max_words_per_line": 1000}
HIGHLIGHT_WORDS = "highlight_words"
STREAMED_FORMATS = ("json", "text", DIARIZED)
WORD, SEGMENT = "word", "segment"
GRANULARITIES = (WORD, SEGMENT)

_OF_BOTH = ("model", "prompt", "response_format", "temperature")
# Ours for which OpenAI has a field of its own, or an address
_OPENAIS_OWN = ("model", "language", "task", "temperature", "initial_prompt", "word_timestamps")
OWN_OPTIONS = tuple(name for name in OPTION_FIELDS if name not in _OPENAIS_OWN)
_OF_CUES = (*CUE_LIMITS, HIGHLIGHT_WORDS)
_SINGLE: dict[TaskKind, tuple[str, ...]] = {"transcribe": (*_OF_BOTH, "language", "stream"), "translate": _OF_BOTH}
_LISTS: dict[TaskKind, tuple[str, ...]] = {
    "transcribe": ("timestamp_granularities", "include", "keywords"),
    "translate": (),
}
_OF_SPEAKERS = ("known_speaker_names", "known_speaker_references")
_WITHOUT_EFFECT = "chunking_strategy"  # where long recordings are cut is the model's own affair here
_OPENAIS_FIELDS = {
    "initial_prompt": "prompt",
    "hotwords": "keywords",
    "word_timestamps": "timestamp_granularities",
    "task": "model",
}


@dataclass(frozen=True)
class Wanted:
    """What a request asks for besides its task's options."""

    model: str  # ours
    response_format: str
    granularities: frozenset[str]
    writer: WriterOptions  # of subtitles
    is_streamed: bool
    ignored_fields: tuple[str, ...]  # that have no effect here, as far as their names can be repeated


class AudioForm:
    """One request's form. `wanted` is there once it was read."""

    wanted: Wanted

    def __init__(self, kind: TaskKind) -> None:
        self._kind = kind

    def read(self, fields: Fields) -> TaskForm:
        """Raises InvalidOptionError, UnknownModelError or BadRequestError, with OpenAI's name of the field."""
        sent = _Sent(fields, self._kind)
        values = OptionTexts(sent.texts)
        asked_model = sent.texts.get("model", "")
        response_format = _response_format(values, self._kind)
        self.wanted = Wanted(
            model=own_model(asked_model),
            response_format=response_format,
            granularities=_granularities(sent.lists.get("timestamp_granularities", ()), response_format),
            writer=_writer_options(values) if _has_cues(response_format) else PLAIN,
            is_streamed=_is_streamed(values.flag("stream"), response_format, asked_model),
            ignored_fields=sent.ignored,
        )
        _check_includes(sent.lists.get("include", ()))
        return self._task_form(sent, self.wanted)

    def _task_form(self, sent: _Sent, wanted: Wanted) -> TaskForm:
        texts, hotwords = sent.texts, sent.lists.get("keywords", ())
        options = {
            **{name: texts[name] for name in OWN_OPTIONS if name in texts},
            "model": wanted.model,
            "task": self._kind,
            "initial_prompt": texts.get("prompt", "")[-MAX_PROMPT_CHARACTERS:],  # theirs, too, looks at the end
            "hotwords": ", ".join(filter(None, (*hotwords, texts.get("hotwords")))),
            "temperature": _temperature(texts.get("temperature", "")),
            "word_timestamps": "true" if WORD in wanted.granularities or wanted.writer.needing_words else "",
        }
        if wanted.response_format == DIARIZED:
            options["speakers"] = "true"
        if "language" in texts:
            options["language"] = texts["language"]
        return task_form(options, _OPENAIS_FIELDS)


class _Sent:
    """A form's fields by name; those of lists with or without brackets."""

    def __init__(self, fields: Fields, kind: TaskKind) -> None:
        self.texts: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        ignored: list[str] = []
        for sent_name, text in fields:
            name = sent_name.removesuffix("[]")
            if name in self.texts:
                raise InvalidOptionError("This field was sent more than once.", field=name)
            if name in (*_SINGLE[kind], *_OF_CUES, *OWN_OPTIONS):
                self.texts[name] = text.strip()
            elif name in _LISTS[kind]:
                self.lists.setdefault(name, []).append(text.strip())
            elif name in _OF_SPEAKERS and kind == "transcribe":
                raise InvalidOptionError("This server does not recognise voices that it is told of.", field=name)
            elif name.partition("[")[0] != _WITHOUT_EFFECT:
                ignored.append(sent_name)
        if not _has_cues(self.texts.get("response_format", "")):
            ignored += filter(self.texts.__contains__, _OF_CUES)
        self.ignored = quotable(ignored)


def _response_format(values: OptionTexts, kind: TaskKind) -> str:
    known = (*FORMATS, DIARIZED) if kind == "transcribe" else FORMATS
    chosen: str = values.choice("response_format", {name: name for name in known}, "json")
    return chosen


def _has_cues(response_format: str) -> bool:
    return response_format in formats.FORMATS and formats.FORMATS[response_format].has_cues


def _writer_options(values: OptionTexts) -> WriterOptions:
    limits: dict[str, Any] = {name: values.whole_number(name, 1, most) for name, most in CUE_LIMITS.items()}
    return WriterOptions(**limits, highlight_words=values.flag(HIGHLIGHT_WORDS))


def _granularities(sent: Sequence[str], response_format: str) -> frozenset[str]:
    wanted = frozenset(filter(None, sent))
    if not wanted <= set(GRANULARITIES):
        raise InvalidOptionError(f"Must be {' or '.join(GRANULARITIES)}.", field="timestamp_granularities")
    if response_format == "verbose_json":
        return wanted or frozenset({SEGMENT})
    if WORD in wanted and (response_format != "json" or SEGMENT not in wanted):
        raise InvalidOptionError(
            "Words have their times only with response_format=verbose_json.", field="timestamp_granularities"
        )
    return wanted - {WORD}  # Subtitle Edit asks for both with json, and needs the segments


def _is_streamed(is_wanted: bool, response_format: str, asked_model: str) -> bool:
    """OpenAI's whisper-1 ignores the wish; other models refuse what cannot be streamed."""
    if is_wanted and response_format not in STREAMED_FORMATS and asked_model != WHISPER_1:
        raise InvalidOptionError(f"Only {', '.join(STREAMED_FORMATS)} can be streamed.", field="stream")
    return is_wanted and response_format in STREAMED_FORMATS


def _check_includes(names: Sequence[str]) -> None:
    if any(names):
        raise BadRequestError("This server has no further fields to include, such as logprobs.", field="include")


def _temperature(text: str) -> str:
    """Nothing for 0, which to OpenAI means: raise it when the text is doubtful."""
    try:
        value = float(text or "0")
    except ValueError:
        value = math.nan
    return "" if value == 0 else text
