"""A transcript in one format, and the extension of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errors import InvalidOptionError
from optimizer.common import strict_json
from optimizer.common.filenames import title_of
from optimizer.tasks.task import Task
from whisper_core.text import formats
from whisper_core.text.formats import FORMATS
from whisper_core.text.options import Mode
from whisper_core.text.transcript import Transcript
from whisper_core.text.writer_options import PLAIN, WriterOptions

NO_SPEECH = "No speech was found in this recording."
_DAMAGED = "The file is cut off or damaged, so only the part that could be read is transcribed"


def render_transcript(
    transcript: Transcript,
    transcript_format: str,
    options: WriterOptions = PLAIN,
    *,
    mode: Mode = "exact",
    is_partial: bool = False,
    audio_seconds: float | None = None,
    damaged: Mapping[str, float | None] | None = None,
    title: str | None = None,
    translation: Transcript | None = None,
    shows_version: bool = False,
) -> bytes:
    """As `formats.render_transcript`; the json says when the text is not openai-whisper's own (mode), not complete, of
    a damaged recording, without times for its segments, or empty; and when people have changed it, or shows_version,
    which version of it this is.

    The other formats have no place for that. Their file name shows the mode (`file_extension`), and only complete texts
    are written in them.
    """
    if transcript_format == "json" and translation is None:
        transcript = transcript.without_speakers() if options.without_speakers else transcript
        marks: dict[str, Any] = ({"partial": True} if is_partial else {}) | ({} if mode == "exact" else {"mode": mode})
        marks |= {"coarse_times": True} if transcript.has_coarse_times else {}
        marks |= {} if damaged is None else {"damaged": dict(damaged)}
        marks |= {} if is_partial or transcript.is_edited or transcript.text.strip() else {"warning": NO_SPEECH}
        if transcript.version or shows_version:
            marks |= {"version": transcript.version, "edited": transcript.is_edited}
        return strict_json.dumps({**transcript.to_dict(), **marks}, ensure_ascii=False).encode()
    return formats.render_transcript(
        transcript, transcript_format, options, audio_seconds=audio_seconds, title=title, translation=translation
    )


def render_transcript_of(
    task: Task, transcript: Transcript, transcript_format: str, options: WriterOptions = PLAIN
) -> bytes:
    """`render_transcript` of a whole transcript, with what its task says of it."""
    return render_transcript(
        transcript,
        transcript_format,
        options,
        mode=task.options.mode,
        audio_seconds=task.audio_seconds,
        damaged=damage_json(task),
        title=task.title or title_of(task.filename),
    )


def damage_json(task: Task) -> dict[str, float | None] | None:
    """How much of a damaged recording could be read; None of a whole one."""
    if not task.is_truncated:
        return None
    return {"readable_seconds": task.audio_seconds, "declared_seconds": task.declared_seconds}


def damage_text(task: Task) -> str:
    """What is to be said of a damaged recording."""
    readable, declared = task.audio_seconds, task.declared_seconds
    of_all = "" if declared is None else f" of {declared:.1f} s"
    return f"{_DAMAGED}." if readable is None else f"{_DAMAGED}: {readable:.1f} s{of_all}."


def warnings_of(task: Task) -> tuple[str, ...]:
    """What a person should know of a task's text before relying on it."""
    damage = [damage_text(task)] if task.is_truncated else []
    silence = [NO_SPEECH] if task.is_silent else []
    speakers = [task.speakers_problem.message] if task.speakers_problem else []
    return (*damage, *silence, *speakers)


def pair_of(first: Task, second: Task) -> tuple[Task, Task]:
    """(The task with the original's text, that with its translation.) Raises InvalidOptionError if they are none."""
    if first.sha256 != second.sha256:
        raise InvalidOptionError("This task is of another recording.", field="bilingual")
    tracks = {track.index for task in (first, second) for track in task.tracks if track.is_chosen}
    if len(tracks) > 1:
        raise InvalidOptionError("This task is of another sound track.", field="bilingual")
    pair = {task.options.task: task for task in (first, second)}
    if len(pair) != 2:
        raise InvalidOptionError("One task must be a transcription and the other a translation.", field="bilingual")
    return pair["transcribe"], pair["translate"]


def file_extension(transcript_format: str, mode: Mode, *, is_bilingual: bool = False) -> str:
    """`srt`; `vad.srt` for a text in mode vad, which is not openai-whisper's own; `bilingual.srt` for two in one."""
    marks = [mark for mark, is_there in ((mode, mode != "exact"), ("bilingual", is_bilingual)) if is_there]
    return ".".join([*marks, FORMATS[transcript_format].extension])
