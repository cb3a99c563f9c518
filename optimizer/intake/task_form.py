"""Reads the form fields of POST /api/tasks into TaskOptions. An error names the field at fault."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, get_args

from config import Settings
from errors import InvalidOptionError
from optimizer.common.addresses import checked_url
from optimizer.common.kinds import AUTO_DEVICE, CPU_DEVICE
from optimizer.intake.option_values import OptionTexts
from optimizer.tasks.batches import Batch, read_batch
from optimizer.tasks.task import Priority, TaskOptions
from setting_values import AUTO_LANGUAGE
from whisper_core.models.registry import ModelRegistry
from whisper_core.text.languages import language_code
from whisper_core.text.options import DetectedFrom, Mode, TaskKind, TranscribeOptions, check_together

FILE_FIELD = "file"
OPTION_FIELDS = (
    "model",
    "language",
    "task",
    "initial_prompt",
    "word_timestamps",
    "temperature",
    "mode",
    "carry_initial_prompt",
    "hotwords",
    "condition_on_previous_text",
    "compression_ratio_threshold",
    "logprob_threshold",
    "no_speech_threshold",
    "hallucination_silence_threshold",
    "clip_timestamps",
    "beam_size",
    "best_of",
    "patience",
    "length_penalty",
    "suppress_tokens",
    "detect_language",
    "vad_filter",
    "track",
    "speakers",
    "num_speakers",
    "priority",
    "device",
)
BATCH_FIELDS = ("batch", "batch_name")
CALLBACK_FIELD = "callback_url"  # only where ENABLE_WEBHOOKS is on
MAX_KEY_CHARACTERS = 200
MAX_SPEAKERS = 50  # to choose from; how many are found has no limit

_DEFAULTS = TranscribeOptions()
_MOST_THRESHOLD = 100.0
_MOST_SILENCE_S = 600.0
_MOST_BEAMS = 10  # each takes memory for a window's whole text
_MOST_PATIENCE = 10.0
# Ids of text are below the end token's, which English-only models have one earlier.
_END_TOKEN, _END_TOKEN_OF_ENGLISH = 50257, 50256
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY_CHARACTERS}}}")
_QUOTABLE_FIELD = re.compile(r"[\w.-]{1,40}")


@dataclass(frozen=True)
class TaskForm:
    options: TaskOptions
    priority: Priority
    device: str
    callback_url: str | None = None
    batch: Batch | None = None


def read_task_form(
    fields: Iterable[tuple[str, str]],
    settings: Settings,
    devices: Collection[str],
    models: ModelRegistry,
    default_model: str,
) -> TaskForm:
    """fields: (name, text) as they were sent. devices: names of the server's devices. models: those that it knows.
    default_model: when none is sent.

    Raises InvalidOptionError or UnknownModelError, with the field.
    """
    further = (*BATCH_FIELDS, CALLBACK_FIELD) if settings.enable_webhooks else BATCH_FIELDS
    texts = _by_name(fields, (*OPTION_FIELDS, *further))
    values = OptionTexts(texts)
    model = models.info(texts.get("model") or default_model)
    kind = values.choice("task", {word: word for word in get_args(TaskKind)}, "transcribe")
    language = _language(texts.get("language", settings.default_language))
    if not model.is_multilingual:
        language = _english_only(model.name, kind, language, is_chosen="language" in texts)
    elif language is not None and language not in model.languages:
        raise InvalidOptionError(f"The model {model.name} does not know this language.", field="language")
    options = TaskOptions(
        model=model.name,
        language=language,
        task=kind,
        initial_prompt=values.prompt("initial_prompt"),
        word_timestamps=values.flag("word_timestamps"),
        temperature=values.number("temperature", 0, 1),
        mode=values.choice("mode", {word: word for word in get_args(Mode)}, "exact"),
        vad_filter=values.flag("vad_filter"),
        detect_language=values.choice("detect_language", {word: word for word in get_args(DetectedFrom)}, "start"),
        track=values.track("track"),
        speakers=values.flag("speakers"),
        num_speakers=values.whole_number("num_speakers", 1, MAX_SPEAKERS),
        **_further_options(values),
        **_search_options(values, _END_TOKEN if model.is_multilingual else _END_TOKEN_OF_ENGLISH),
    )
    check_together(options)
    if options.num_speakers is not None and not options.speakers:
        raise InvalidOptionError("Needs speakers.", field="num_speakers")
    priorities = {priority.word: priority for priority in Priority}
    # A server with GPUs starts the CPU as a device when a model that runs only there is first asked for.
    cpu = (CPU_DEVICE,) if model.is_for_cpus_only else ()
    known_devices = {name: name for name in (AUTO_DEVICE, *devices, *cpu)}
    return TaskForm(
        options,
        priority=values.choice("priority", priorities, Priority.NORMAL.word),
        device=values.choice("device", known_devices, AUTO_DEVICE),
        callback_url=_callback(texts.get(CALLBACK_FIELD, ""), settings),
        batch=read_batch(*(texts.get(name, "") for name in BATCH_FIELDS)),
    )


def option_texts(options: TaskOptions) -> dict[str, str]:
    """The fields from which `read_task_form` reads these options."""
    defaults = TaskOptions(model="")
    return {
        name: _text_of(getattr(options, name), getattr(defaults, name))
        for name in OPTION_FIELDS
        if hasattr(options, name)
    }


def _text_of(value: Any, default: Any) -> str:
    """The word for what is off; nothing where being off is the default."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == "":
        return "" if default is None or default == "" else "none"
    return str(value)


def read_idempotency_key(header: str | None) -> str | None:
    """Raises InvalidOptionError unless the key is 1 to 200 printable ASCII characters."""
    if header is None:
        return None
    if not _KEY.fullmatch(header):
        raise InvalidOptionError(
            f"Idempotency-Key must be 1 to {MAX_KEY_CHARACTERS} printable ASCII characters without blanks.",
            field="Idempotency-Key",
        )
    return header


def _by_name(fields: Iterable[tuple[str, str]], known: Collection[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, text in fields:
        if name == FILE_FIELD:
            raise InvalidOptionError("This field must be a file, with a file name.", field=FILE_FIELD)
        if name not in known:
            quoted = name if _QUOTABLE_FIELD.fullmatch(name) else None
            raise InvalidOptionError(f"There is no option of this name. There are: {', '.join(known)}.", field=quoted)
        if name in texts:
            raise InvalidOptionError("This option was sent more than once.", field=name)
        texts[name] = text.strip()
    return texts


def _further_options(values: OptionTexts) -> dict[str, Any]:
    return {
        "carry_initial_prompt": values.flag("carry_initial_prompt"),
        "hotwords": values.prompt("hotwords"),
        "condition_on_previous_text": values.flag("condition_on_previous_text", default=True),
        "compression_ratio_threshold": values.threshold(
            "compression_ratio_threshold", 0, _MOST_THRESHOLD, _DEFAULTS.compression_ratio_threshold
        ),
        "logprob_threshold": values.threshold("logprob_threshold", -_MOST_THRESHOLD, 0, _DEFAULTS.logprob_threshold),
        "no_speech_threshold": values.threshold("no_speech_threshold", 0, 1, _DEFAULTS.no_speech_threshold),
        "hallucination_silence_threshold": values.threshold(
            "hallucination_silence_threshold", 0, _MOST_SILENCE_S, _DEFAULTS.hallucination_silence_threshold
        ),
        "clip_timestamps": values.clip_timestamps("clip_timestamps", _DEFAULTS.clip_timestamps),
    }


def _search_options(values: OptionTexts, end_token: int) -> dict[str, Any]:
    return {
        "beam_size": values.whole_number("beam_size", 1, _MOST_BEAMS),
        "best_of": values.whole_number("best_of", 1, _MOST_BEAMS),
        "patience": values.number("patience", 0, _MOST_PATIENCE),
        "length_penalty": values.number("length_penalty", 0, 1),
        "suppress_tokens": values.token_ids("suppress_tokens", end_token, _DEFAULTS.suppress_tokens),
    }


def _language(text: str) -> str | None:
    if text.lower() in ("", AUTO_LANGUAGE):
        return None
    code = language_code(text)
    if code is None:
        raise InvalidOptionError(
            "Must be auto, or a language that Whisper knows: a code such as en, zh, es, or its name in English.",
            field="language",
        )
    return code


def _english_only(model: str, kind: str, language: str | None, *, is_chosen: bool) -> str:
    """The language for an English-only model, which neither detects nor translates. It overrides DEFAULT_LANGUAGE."""
    if kind == "translate":
        raise InvalidOptionError(f"The model {model} knows only English, so it cannot translate.", field="task")
    if is_chosen and language not in (None, "en"):
        raise InvalidOptionError(f"The model {model} knows only English.", field="language")
    return "en"


def _callback(url: str, settings: Settings) -> str | None:
    return checked_url(url, allow_private=settings.webhook_allow_private, field=CALLBACK_FIELD) if url else None
