"""What can be downloaded: a task's transcript in several formats, its media, and an archive of many transcripts."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from flask import Response, jsonify, request, send_file
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from errors import FileMissingError, InvalidOptionError, TranscriptNotReadyError
from optimizer.common.filenames import title_of, transcript_name
from optimizer.tasks.task import Task, TaskStatus
from optimizer.views.rendering import damage_json, file_extension, pair_of, render_transcript, render_transcript_of
from web.http.answer_schemas import TranscriptAnswer, WaveformAnswer, WhisperXAnswer, answer, error_responses
from web.http.request_schemas import MAX_ARCHIVE_IDS, ArchiveBody, ArchiveQuery, MediaQuery, TaskPath, TranscriptQuery
from web.http.task_access import TaskAccess, current_tasks
from web.tasks.media_type import media_type_of
from web.tasks.zip_archive import completed_tasks, zip_transcripts
from whisper_core.text.formats import FORMATS
from whisper_core.text.options import Mode
from whisper_core.text.transcript import Transcript

ARCHIVE_NAME = "transcripts.zip"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_TEXT = {"schema": {"type": "string"}}
_OTHER_FORMATS = {format.media_type: _TEXT if format.is_text else _BINARY for format in FORMATS.values()}
_TRANSCRIPTS = _OTHER_FORMATS | answer(TranscriptAnswer, WhisperXAnswer)["content"]


downloads = APIBlueprint(
    "downloads",
    __name__,
    url_prefix="/api",
    abp_tags=[Tag(name="downloads")],
    abp_responses=error_responses(401, 422, 429, 503),
)


@downloads.get(
    "/tasks/<id>/transcript",
    responses={"200": {"content": _TRANSCRIPTS}, **error_responses(404, 409, 410)},
)
def get_transcript(path: TaskPath, query: TranscriptQuery) -> Response:
    """The transcript; as json also while the task runs, with `"partial": true`.

    One that was not made in exact mode says so: `"mode": "vad"` in the json, `.vad` in a file's name. With
    `bilingual` it is the original with its translation.
    """
    own = current_tasks()
    task, translated = own.task(path.id).task, None
    if query.bilingual is not None:
        task, translated = pair_of(task, own.task(query.bilingual).task)
    is_original = query.version == "original"
    transcript, is_partial = _readable(own, task, query.format, is_original)
    mode: Mode = "vad" if "vad" in {each.options.mode for each in (task, translated) if each is not None} else "exact"
    body = render_transcript(
        transcript,
        query.format,
        query.writer_options(),
        mode=mode,
        is_partial=is_partial,
        audio_seconds=task.audio_seconds,
        damaged=damage_json(task),
        title=task.title or title_of(task.filename),
        translation=None if translated is None else _readable(own, translated, "", is_original)[0],
        shows_version=not (is_original or is_partial),
    )
    extension = file_extension(query.format, mode, is_bilingual=translated is not None)
    return _text_file(body, query, transcript_name(task.saved_name, extension))


def _readable(own: TaskAccess, task: Task, transcript_format: str, is_original: bool) -> tuple[Transcript, bool]:
    """As TaskAccess.transcript(). Raises TranscriptNotReadyError for a partial one, unless it is wanted as json."""
    if transcript_format != "json" and task.status is not TaskStatus.COMPLETED:
        raise TranscriptNotReadyError()
    transcript, is_partial = own.transcript(task.id, is_original=is_original)
    if is_partial and transcript_format != "json":  # in the meantime it was retried, or replaced by another one
        raise TranscriptNotReadyError()
    return transcript, is_partial


def send_transcript(task: Task, transcript: Transcript, query: TranscriptQuery) -> Response:
    """A whole transcript in the format that is asked for."""
    body = render_transcript_of(task, transcript, query.format, query.writer_options())
    return _text_file(body, query, transcript_name(task.saved_name, file_extension(query.format, task.options.mode)))


def _text_file(body: bytes, query: TranscriptQuery, name: str) -> Response:
    written = FORMATS[query.format]
    response = send_file(BytesIO(body), mimetype=written.media_type, as_attachment=query.download, download_name=name)
    if written.is_text:  # Flask adds it for text/* only
        response.mimetype_params["charset"] = "utf-8"
    return response


@downloads.get(
    "/tasks/<id>/media",
    responses={
        "200": {"content": {"audio/*": _BINARY, "video/*": _BINARY, "application/octet-stream": _BINARY}},
        "206": {"content": {"audio/*": _BINARY, "video/*": _BINARY, "application/octet-stream": _BINARY}},
        "304": None,
        "412": {"content": {"audio/*": _BINARY, "video/*": _BINARY, "application/octet-stream": _BINARY}},
        **error_responses(404, 410, 416),
    },
)
def get_media(path: TaskPath, query: MediaQuery) -> Response:
    """The uploaded file, whole or one range of it."""
    own = current_tasks()
    task = own.task(path.id).task
    return send_media(task, own.media(path.id), as_attachment=query.download)


def send_media(task: Task, media: Path, *, as_attachment: bool) -> Response:
    """Raises FileMissingError."""
    _ignore_other_ranges()
    try:
        return send_file(
            media,
            mimetype=media_type_of(media),
            as_attachment=as_attachment,
            download_name=task.saved_name,
            conditional=True,
            etag=task.sha256,
        )
    except OSError as error:
        raise FileMissingError() from error


@downloads.get(
    "/tasks/<id>/waveform",
    responses={"200": answer(WaveformAnswer), **error_responses(404, 409, 410)},
)
def get_waveform(path: TaskPath) -> Response:
    """How loud the recording is from moment to moment, for drawing it without reading it."""
    waveform = current_tasks().waveform(path.id)
    return jsonify(seconds_per_peak=waveform.seconds_per_peak, peaks=list(waveform.peaks))


@downloads.get(
    "/transcripts.zip",
    responses={"200": {"content": {"application/zip": _BINARY}}, **error_responses(404, 409)},
)
def get_archive(query: ArchiveQuery) -> Response:
    """The chosen transcripts in one archive; without `ids` those of every completed task."""
    own = current_tasks()
    ids = query.task_ids()
    if query.ids and not ids:  # an empty selection does not mean every task
        raise InvalidOptionError("No task is named.", field="ids")
    return _archive(own, _chosen(own, ids) if ids else completed_tasks(own), query)


@downloads.post(
    "/transcripts.zip",
    responses={"200": {"content": {"application/zip": _BINARY}}, **error_responses(400, 403, 404, 409, 413)},
)
def post_archive(body: ArchiveBody) -> Response:
    """The same for a long list of tasks, which may not fit into an address."""
    own = current_tasks()
    return _archive(own, _chosen(own, body.task_ids()), body)


def _archive(own: TaskAccess, tasks: Iterable[Task], wanted: ArchiveQuery | ArchiveBody) -> Response:
    is_original = wanted.version == "original"
    archive = zip_transcripts(own, tasks, wanted.format, wanted.writer_options(), is_original=is_original)
    response = Response(archive, mimetype="application/zip")
    response.headers.set("Content-Disposition", "attachment", filename=ARCHIVE_NAME)
    return response


def _ignore_other_ranges() -> None:
    """Removes a Range header unless werkzeug can answer it: one range of bytes, in a GET. It would refuse others with
    416, but RFC 9110 (14.2) requires unknown units and other methods' ranges to be ignored, and allows it for several
    ranges."""
    wanted = request.range
    if request.method != "GET" or wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        request.environ.pop("HTTP_RANGE", None)


def _chosen(own: TaskAccess, ids: list[str]) -> list[Task]:
    """All tasks are checked first, because an answer that has been started cannot become an error."""
    if len(ids) > MAX_ARCHIVE_IDS:
        raise InvalidOptionError(f"At most {MAX_ARCHIVE_IDS} tasks fit in one archive.", field="ids")
    tasks = [own.task(task_id).task for task_id in ids]
    if any(task.status is not TaskStatus.COMPLETED for task in tasks):
        raise TranscriptNotReadyError("Not every one of these tasks is finished.")
    return tasks
