"""whisper-asr-webservice's parameters, which are in the address, read into the options of one of our tasks."""

from __future__ import annotations

from werkzeug.datastructures import MultiDict

from errors import InvalidOptionError
from optimizer.intake.option_values import OptionTexts
from optimizer.intake.task_form import MAX_SPEAKERS, TaskForm
from web.adapters.answer_headers import quotable
from web.adapters.raw_sound import AsWav
from web.adapters.task_form import task_form
from web.http.context import current_system
from web.tasks.uploads import Fields, UploadForm
from whisper_core.text.options import MAX_PROMPT_CHARACTERS, NO_CLIP

FILE_FIELD = "audio_file"
OUTPUTS = ("txt", "vtt", "srt", "tsv", "json")
DETECTION = ("encode", "video_file")
SPEAKER_LIMITS = ("min_speakers", "max_speakers")
TRANSCRIPTION = (
    *DETECTION, "task", "language", "initial_prompt", "vad_filter", "word_timestamps", "diarize", *SPEAKER_LIMITS,
    "output",
)  # fmt: skip


class SentQuery:
    """One request's parameters. Of one that is sent twice the last counts, as at theirs."""

    def __init__(self, sent: MultiDict[str, str], known: tuple[str, ...]) -> None:
        self._texts = {name: text.strip() for name, text in sent.items(multi=True) if name in known}
        self._unknown = [name for name in sent if name not in known]
        self._values = OptionTexts(self._texts)
        self.ignored: tuple[str, ...] = ()  # parameters and fields that have no effect; once the form was read

    def output(self) -> str:
        chosen: str = self._values.choice("output", {name: name for name in OUTPUTS}, "txt")
        return chosen

    def transcription(self) -> UploadForm:
        """Raises InvalidOptionError."""
        options = {
            "task": self._texts.get("task", ""),
            "initial_prompt": self._texts.get("initial_prompt", "")[-MAX_PROMPT_CHARACTERS:],
            "word_timestamps": self._texts.get("word_timestamps", ""),
            "vad_filter": self._texts.get("vad_filter", ""),
            **self._speakers(),
        }
        if "language" in self._texts:
            options["language"] = self._texts["language"]
        return self._form(options)

    def _speakers(self) -> dict[str, str]:
        """How many there are is known where the least and the most are the same number; else these have no effect."""
        is_wanted = self._values.flag("diarize")
        least, most = (self._values.whole_number(name, 1, MAX_SPEAKERS) for name in SPEAKER_LIMITS)
        if is_wanted and least is not None and least == most:
            return {"speakers": "true", "num_speakers": str(least)}
        self._unknown += filter(self._texts.__contains__, SPEAKER_LIMITS)
        return {"speakers": "true"} if is_wanted else {}

    def detection(self) -> UploadForm:
        """Raises InvalidOptionError."""
        system = current_system()
        if not system.admission.models.info(system.default_model()).is_multilingual:
            raise InvalidOptionError(
                "The server's default model knows only English, so it cannot tell languages apart. DEFAULT_MODEL has "
                "to name another one."
            )
        return self._form({"language": "auto", "clip_timestamps": NO_CLIP})

    def _form(self, options: dict[str, str]) -> UploadForm:
        is_encoded = self._values.flag("encode", default=True)

        def read(fields: Fields) -> TaskForm:
            self.ignored = quotable([*self._unknown, *(name for name, _ in fields)])
            return task_form(options, {})

        return UploadForm(
            file_field=FILE_FIELD,
            read=read,
            filename=self._texts.get("video_file"),
            through=None if is_encoded else AsWav,
        )
