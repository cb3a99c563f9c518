"""Reads the form fields of POST /api/tasks into TaskOptions. An error names the field at fault."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, get_args

from config import Settings
from errors import InvalidOptionError
from optimizer.common.kinds import AUTO_DEVICE, CPU_DEVICE
from optimizer.tasks.task import Priority, TaskOptions
from setting_values import AUTO_LANGUAGE
from whisper_core.models.catalogue import model_info
from whisper_core.text.languages import language_code
from whisper_core.text.options import MAX_PROMPT_CHARACTERS, Mode, TaskKind

FILE_FIELD = "file"
OPTION_FIELDS = (
    "model",
    "language",
    "task",
    "initial_prompt",
    "word_timestamps",
    "temperature",
    "mode",
    "priority",
    "device",
)
MAX_KEY_CHARACTERS = 200

_TRUE, _FALSE = frozenset({"true", "1", "on", "yes"}), frozenset({"false", "0", "off", "no", ""})
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY_CHARACTERS}}}")
_QUOTABLE_FIELD = re.compile(r"[\w.-]{1,40}")


@dataclass(frozen=True)
class TaskForm:
    options: TaskOptions
    priority: Priority
    device: str


def read_task_form(
    fields: Iterable[tuple[str, str]], settings: Settings, devices: Collection[str], default_model: str
) -> TaskForm:
    """fields: (name, text) as they were sent. devices: names of the server's devices. default_model: when none is sent.

    Raises InvalidOptionError or UnknownModelError, with the field.
    """
    texts = _by_name(fields)
    model = model_info(texts.get("model") or default_model)
    kind = _choice(texts, "task", {word: word for word in get_args(TaskKind)}, "transcribe")
    language = _language(texts.get("language", settings.default_language))
    if not model.is_multilingual:
        language = _english_only(model.name, kind, language, is_chosen="language" in texts)
    elif language is not None and language not in model.languages:
        raise InvalidOptionError(f"The model {model.name} does not know this language.", field="language")
    options = TaskOptions(
        model=model.name,
        language=language,
        task=kind,
        initial_prompt=_prompt(texts.get("initial_prompt", "")),
        word_timestamps=_flag(texts.get("word_timestamps", "")),
        temperature=_temperature(texts.get("temperature", "")),
        mode=_choice(texts, "mode", {word: word for word in get_args(Mode)}, "exact"),
    )
    priorities = {priority.word: priority for priority in Priority}
    # A server with GPUs starts the CPU as a device when a model that runs only there is first asked for.
    cpu = (CPU_DEVICE,) if model.is_for_cpus_only else ()
    known_devices = {name: name for name in (AUTO_DEVICE, *devices, *cpu)}
    return TaskForm(
        options,
        priority=_choice(texts, "priority", priorities, Priority.NORMAL.word),
        device=_choice(texts, "device", known_devices, AUTO_DEVICE),
    )


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


def _by_name(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, text in fields:
        if name == FILE_FIELD:
            raise InvalidOptionError("This field must be a file, with a file name.", field=FILE_FIELD)
        if name not in OPTION_FIELDS:
            quoted = name if isinstance(name, str) and _QUOTABLE_FIELD.fullmatch(name) else None
            raise InvalidOptionError(
                f"There is no option of this name. There are: {', '.join(OPTION_FIELDS)}.", field=quoted
            )
        if name in texts:
            raise InvalidOptionError("This option was sent more than once.", field=name)
        texts[name] = text.strip()
    return texts


def _choice(texts: dict[str, str], name: str, allowed: dict[str, Any], default: str) -> Any:
    """An absent field and an empty one both mean the default."""
    try:
        return allowed[texts.get(name) or default]
    except KeyError:
        raise InvalidOptionError(f"Must be one of {', '.join(allowed)}.", field=name) from None


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


def _prompt(text: str) -> str | None:
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise InvalidOptionError(f"Must have at most {MAX_PROMPT_CHARACTERS} characters.", field="initial_prompt")
    return _UNPRINTABLE.sub(" ", text) or None


def _flag(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise InvalidOptionError("Must be true or false.", field="word_timestamps")
    return word in _TRUE


def _temperature(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InvalidOptionError("Must be a number from 0 to 1, or empty.", field="temperature")
    return value
