"""What a link shows to whoever has it: one transcript, to read and to download, and to hear where that was wanted."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, make_response, render_template, request
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from errors import InvalidOptionError, ShareNotFoundError
from optimizer.common.filenames import title_of
from optimizer.sharing.shares import Share
from optimizer.tasks.task import Task, TaskStatus
from optimizer.views.rendering import warnings_of
from web.http.access import current_limits
from web.http.context import current_system
from web.http.errors import raise_validation_error
from web.http.request_schemas import TranscriptQuery
from web.tasks.downloads import send_media, send_transcript
from whisper_core.text.cues import speaker_label
from whisper_core.text.transcript import Segment, Transcript

DOWNLOADS = ("txt", "srt", "vtt", "docx")

shared = Blueprint("shared", __name__, url_prefix="/s")


@shared.get("/<token>")
def show_shared(token: str) -> ResponseReturnValue:
    share, task = _behind(token)
    transcript, _ = current_system().transcript(task.id)
    page = render_template(
        "shared.html",
        title=task.title or title_of(task.filename),
        segments=list(_with_speakers(transcript)),
        language=transcript.language,
        warnings=warnings_of(task),
        share=share,
        has_media=share.has_media and task.media_removed_at is None,
        token=token,
        downloads=DOWNLOADS,
    )
    return _private(make_response(page))


@shared.get("/<token>/transcript")
def get_shared_transcript(token: str) -> ResponseReturnValue:
    _, task = _behind(token)
    try:
        query = TranscriptQuery.model_validate({"download": "true", **request.args.to_dict()})
    except ValidationError as error:
        return raise_validation_error(error)
    if query.bilingual is not None:
        raise InvalidOptionError("A link shows one transcript only.", field="bilingual")
    if query.version == "original":
        raise InvalidOptionError("A link shows the text as it is now.", field="version")
    transcript, _ = current_system().transcript(task.id)
    return _private(send_transcript(task, transcript, query))


@shared.get("/<token>/media")
def get_shared_media(token: str) -> ResponseReturnValue:
    """Raises ShareNotFoundError for a link that shows the text only."""
    share, task = _behind(token)
    if not share.has_media:
        raise ShareNotFoundError()
    return _private(send_media(task, current_system().media(task.id), as_attachment=False))


def _with_speakers(transcript: Transcript) -> Iterator[tuple[Segment, str | None]]:
    """The segments that have a text, each with the name of who speaks where that is somebody else than before."""
    last: str | None = None
    for segment in transcript.segments:
        if segment.text.strip():
            speaker = speaker_label(transcript, segment)
            yield segment, speaker if speaker != last else None
            last = speaker


def _behind(token: str) -> tuple[Share, Task]:
    """The link and its task. Raises ShareNotFoundError, TooManyRequestsError for an address that asks too often."""
    current_limits().requests.take(f"address {request.remote_addr}")
    share = current_system().shares.find(token)
    task = current_system().task(share.task_id).task
    if task.status is not TaskStatus.COMPLETED:
        raise ShareNotFoundError()
    return share, task


def _private(response: Response) -> Response:
    """The address is the secret: it goes to no other site, into no index, and the answer into no shared cache."""
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["Cache-Control"] = "private, no-cache"
    return response
