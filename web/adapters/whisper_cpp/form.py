"""The form fields of whisper.cpp's server, read into the options of one of our tasks and into what is answered."""

from __future__ import annotations

from dataclasses import dataclass

from errors import InvalidOptionError
from optimizer.intake.option_values import OptionTexts
from optimizer.intake.task_form import TaskForm
from web.adapters.answer_headers import quotable
from web.adapters.task_form import task_form
from web.tasks.uploads import Fields
from whisper_core.text.options import MAX_PROMPT_CHARACTERS, NO_CLIP

JSON, TEXT, SRT, VTT, VERBOSE = FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
FLAGS = (
    "translate", "detect_language", "carry_initial_prompt", "vad", "no_timestamps", "token_timestamps", "diarize",
    "tinydiarize",
)  # fmt: skip
NUMBERS = (
    "temperature", "temperature_inc", "beam_size", "best_of", "no_speech_thold", "logprob_thold", "offset_t",
    "duration", "max_context",
)  # fmt: skip
_KNOWN = frozenset({"language", "prompt", "response_format", *FLAGS, *NUMBERS})
_OURS = {
    "best_of": "best_of",
    "no_speech_thold": "no_speech_threshold",
    "logprob_thold": "logprob_threshold",
    "carry_initial_prompt": "carry_initial_prompt",
}
_THEIR_NAMES = {
    "initial_prompt": "prompt",
    "task": "translate",
    "clip_timestamps": "duration",
    "vad_filter": "vad",
    **{ours: theirs for theirs, ours in _OURS.items()},
}
_WORDS = {"y": "yes", "n": "no"}
_MOST_MS = 1_000_000_000


@dataclass(frozen=True)
class Wanted:
    """What a request asks for besides its task's options."""

    response_format: str
    has_times: bool
    ignored_fields: tuple[str, ...]  # that have no effect here, as far as their names can be repeated


class InferenceForm:
    """One request's form. `wanted` is there once it was read."""

    wanted: Wanted

    def read(self, fields: Fields) -> TaskForm:
        """Of a field that is sent twice the first counts, as at theirs. Raises InvalidOptionError, with the field."""
        sent = dict(reversed(fields))
        texts = {name: text.strip() for name, text in sent.items() if name in _KNOWN}
        texts |= {name: _WORDS.get(texts[name].lower(), texts[name]) for name in FLAGS if name in texts}
        values = OptionTexts(texts)
        for name in ("diarize", "tinydiarize"):
            if values.flag(name):
                raise InvalidOptionError(
                    "This server does not tell speakers apart by their channels. POST /api/tasks has `speakers`.",
                    field=name,
                )
        has_times = not values.flag("no_timestamps")
        self.wanted = Wanted(
            response_format=values.choice("response_format", {name: name for name in FORMATS}, JSON),
            has_times=has_times,
            ignored_fields=quotable(name for name, _ in fields if name not in _KNOWN),
        )
        has_words = has_times and values.flag("token_timestamps", default=True)
        options = _options(texts, values)
        options["word_timestamps"] = "true" if has_words and self.wanted.response_format == VERBOSE else ""
        return task_form(options, _THEIR_NAMES)


def _options(texts: dict[str, str], values: OptionTexts) -> dict[str, str]:
    options = {
        "task": "translate" if values.flag("translate") else "",
        "vad_filter": texts.get("vad", ""),
        "initial_prompt": texts.get("prompt", "")[-MAX_PROMPT_CHARACTERS:],
        "temperature": _temperature(values),
        "beam_size": _beam_size(values),
        "condition_on_previous_text": "" if values.number("max_context", -1, _MOST_MS) != 0 else "false",
        "clip_timestamps": _clip(values),
        **{ours: texts.get(theirs, "") for theirs, ours in _OURS.items()},
    }
    if values.flag("detect_language"):
        options |= {"language": "auto", "clip_timestamps": NO_CLIP, "vad_filter": ""}
    elif "language" in texts:
        options["language"] = texts["language"]
    return options


def _temperature(values: OptionTexts) -> str:
    """Nothing where theirs begins at 0 and is raised when the text is doubtful."""
    first = values.number("temperature", 0, 1) or 0.0
    step = values.number("temperature_inc", 0, 1)
    return f"{first}" if first or step == 0 else ""


def _beam_size(values: OptionTexts) -> str:
    """Nothing for what means none to theirs."""
    size = values.number("beam_size", -1, 10)
    if size is None or size <= 1:
        return ""
    return f"{size:g}"


def _clip(values: OptionTexts) -> str:
    start_ms = values.number("offset_t", 0, _MOST_MS) or 0.0
    length_ms = values.number("duration", 0, _MOST_MS) or 0.0
    if not start_ms and not length_ms:
        return ""
    end = f",{(start_ms + length_ms) / 1000}" if length_ms else ""
    return f"{start_ms / 1000}{end}"
