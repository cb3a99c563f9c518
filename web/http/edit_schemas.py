"""What people may send to change a transcript, and what they are answered, as pydantic models."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Union

from pydantic import ConfigDict, Field, field_validator

from web.http.answer_schemas import Answer, Body, ErrorDetail
from web.http.request_schemas import Request
from whisper_core.editing import edits
from whisper_core.editing.edited_transcript import MAX_SEGMENT_CHARACTERS
from whisper_core.editing.speakers import MAX_NAME_CHARACTERS

MAX_EDITS = 200  # in one call
MAX_WHOLE = 10  # of which each is about the whole text
MAX_AGAIN = 1000  # segments
MAX_SECONDS = 1_000_000.0
_MAX_ID = 2**31 - 1

SegmentId = Annotated[int, Field(ge=-_MAX_ID, le=_MAX_ID)]
SegmentIds = Annotated[list[SegmentId], Field(min_length=1, max_length=20_000)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
Local = Annotated[
    int | None,
    Field(
        ge=-_MAX_ID, lt=0, description="a name for the new segment, below 0, by which later edits of this call know it"
    ),
]
SpeakerId = Annotated[str, Field(pattern=r"^S[1-9][0-9]{0,3}$")]


class EditBody(Request):
    """One edit; see whisper_core.editing."""

    model_config = ConfigDict(strict=True, populate_by_name=True)
    made_of: ClassVar[type[Any]]

    def edit(self) -> edits.Edit:
        values = {name: getattr(self, name) for name in type(self).model_fields if name not in ("kind", "local")}
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        local = getattr(self, "local", None)
        made: edits.Edit = self.made_of(**plain, **({} if local is None else {"first_id": local}))
        return made


class SetTextEdit(EditBody):
    made_of = edits.SetText
    kind: Literal["set_text"]
    segment: SegmentId
    text: str = Field(max_length=MAX_SEGMENT_CHARACTERS)


class SetTimesEdit(EditBody):
    made_of = edits.SetTimes
    kind: Literal["set_times"]
    segment: SegmentId
    start: Seconds
    end: Seconds


class SplitEdit(EditBody):
    made_of = edits.Split
    kind: Literal["split"]
    segment: SegmentId
    at_char: int = Field(ge=1, le=_MAX_ID, description="of the text with its leading space, in code points")
    local: Local = None


class MergeEdit(EditBody):
    made_of = edits.Merge
    kind: Literal["merge"]
    segments: SegmentIds


class DeleteEdit(EditBody):
    made_of = edits.Delete
    kind: Literal["delete"]
    segments: SegmentIds


class InsertEdit(EditBody):
    made_of = edits.Insert
    kind: Literal["insert"]
    after: SegmentId | None = Field(description="null: before all")
    start: Seconds
    end: Seconds
    text: str = Field(min_length=1, max_length=MAX_SEGMENT_CHARACTERS)
    local: Local = None


class ShiftEdit(EditBody):
    made_of = edits.Shift
    kind: Literal["shift"]
    seconds: float = Field(ge=-MAX_SECONDS, le=MAX_SECONDS, allow_inf_nan=False)


class ReplaceEdit(EditBody):
    made_of = edits.Replace
    kind: Literal["replace"]
    find: str = Field(min_length=1, max_length=500)
    replace: str = Field(max_length=1000)
    segments: SegmentIds | None = Field(None, description="null: all")
    case: bool = Field(False, description="true: capitals matter")
    whole_words: bool = False


class SetSpeakerEdit(EditBody):
    made_of = edits.SetSpeaker
    kind: Literal["set_speaker"]
    segments: SegmentIds
    speaker: SpeakerId | None


class NameSpeakerEdit(EditBody):
    made_of = edits.NameSpeaker
    kind: Literal["name_speaker"]
    speaker: SpeakerId
    name: Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)] | None


class MergeSpeakersEdit(EditBody):
    made_of = edits.MergeSpeakers
    kind: Literal["merge_speakers"]
    from_: SpeakerId = Field(alias="from")
    into: SpeakerId


AnyEdit = Annotated[
    Union[
        SetTextEdit,
        SetTimesEdit,
        SplitEdit,
        MergeEdit,
        DeleteEdit,
        InsertEdit,
        ShiftEdit,
        ReplaceEdit,
        SetSpeakerEdit,
        NameSpeakerEdit,
        MergeSpeakersEdit,
    ],
    Field(discriminator="kind"),
]
AnswerKind = Literal["whole", "changes"]


class StepBody(Request):
    model_config = ConfigDict(strict=True)

    base: int = Field(ge=0, le=_MAX_ID, description="the version that the sender knows")
    answer: AnswerKind = Field("whole", description="which segments are answered: all, or those changed since `base`")


class EditsBody(StepBody):
    edits: list[AnyEdit] = Field(min_length=1, max_length=MAX_EDITS, description="one step of undoing")

    @field_validator("edits")
    @classmethod
    def _is_soon_done(cls, edits: list[AnyEdit]) -> list[AnyEdit]:
        whole = sum(edit.kind in ("shift", "replace") and getattr(edit, "segments", None) is None for edit in edits)
        if whole > MAX_WHOLE:
            raise ValueError(f"at most {MAX_WHOLE} edits of a call may be about the whole text")
        return edits


class SegmentsAgain(Request):
    model_config = ConfigDict(strict=True)

    base: int = Field(ge=0, le=_MAX_ID, description="the version that the sender knows")
    segments: list[Annotated[int, Field(ge=0, le=_MAX_ID)]] = Field(min_length=1, max_length=MAX_AGAIN)
    model: str = Field(min_length=1, max_length=64)


class EditsQuery(Request):
    limit: int = Field(50, ge=1, le=200)
    before: int | None = Field(None, ge=1, le=_MAX_ID, description="only steps with a smaller number")


class EditedAnswer(Answer):
    """The text after a step."""

    version: int
    edited: bool = Field(description="whether anything differs from what was transcribed")
    can_undo: bool
    can_redo: bool
    segments: list[dict[str, Any]] = Field(description="as in the transcript's json")
    order: list[int] | None = Field(
        description="the ids of all segments; null with all of them, and where none came or went since `base`"
    )
    speakers: dict[str, str | None]
    made: dict[str, int] = Field(description="the ids of new segments by their `local`")


class EditStepBody(Body):
    number: int
    author: str
    at: str
    kind: str
    data: dict[str, Any]
    undone: bool


class EditsAnswer(Answer):
    version: int
    edited: bool
    can_undo: bool
    can_redo: bool
    edits: list[EditStepBody]
    next_before: int | None


class PresentBody(Body):
    """What somebody else changed, as it is now."""

    version: int
    segments: list[dict[str, Any]]
    gone: list[int]
    speakers: dict[str, str | None]


class EditConflictAnswer(Answer):
    error: ErrorDetail
    present: PresentBody = Field(description="only there with `edit_conflict`")
