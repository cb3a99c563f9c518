"""A transcript with what was done to it: which edits are in force, which can be done again, what changed when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from whisper_core.editing.edited_transcript import EditedTranscript
from whisper_core.text.transcript import Segment, Transcript


@dataclass(frozen=True)
class EditHistory:
    """After a number of steps. A step is the edits that were sent together, or an undo or redo of such a one; it has a
    number, from 1, and the last one's is the version.

    changes, renames: of each segment and speaker that is not as at the beginning, the last step that changed it.
    appeared: of each speaker that was not there before, the step that brought it.
    """

    version: int
    text: EditedTranscript
    changes: Mapping[int, int] = field(default_factory=dict)
    renames: Mapping[str, int] = field(default_factory=dict)
    appeared: Mapping[str, int] = field(default_factory=dict)
    done: tuple[int, ...] = ()  # steps in force, undo and redo aside
    undone: tuple[int, ...] = ()  # steps that can be done again, the next one last

    @classmethod
    def of(cls, original: EditedTranscript) -> EditHistory:
        return cls(0, original)

    @property
    def is_edited(self) -> bool:
        return bool(self.done)

    def transcript(self) -> Transcript:
        return replace(self.text.transcript(), version=self.version, is_edited=self.is_edited)

    def after(self, text: EditedTranscript) -> EditHistory:
        """A further step, which makes this of the text. What was undone cannot be done again."""
        number = self.version + 1
        return replace(self._stamped(text), done=(*self.done, number), undone=())

    def after_undo(self, text: EditedTranscript) -> EditHistory:
        """The last step in force is so no longer; `text` is what there is without it."""
        return replace(self._stamped(text), done=self.done[:-1], undone=(*self.undone, self.done[-1]))

    def after_redo(self, text: EditedTranscript) -> EditHistory:
        return replace(self._stamped(text), done=(*self.done, self.undone[-1]), undone=self.undone[:-1])

    def changed_since(self, base: int) -> list[Segment]:
        """The segments that are there and changed after that step, in order."""
        return [segment for segment in self.text.segments if self.changes.get(segment.id, 0) > base]

    def _stamped(self, text: EditedTranscript) -> EditHistory:
        number = self.version + 1
        text = replace(text, next_id=max(text.next_id, self.text.next_id))
        changed = dict.fromkeys(_changed_segments(self.text, text), number)
        renamed = {
            speaker: number
            for speaker in {**self.text.speakers, **text.speakers}
            if self.text.speakers.get(speaker, "") != text.speakers.get(speaker, "")
        }
        new = {speaker: number for speaker in text.speakers if speaker not in self.text.speakers}
        there = {segment.id for segment in text.segments}
        changes = {id_: at for id_, at in {**self.changes, **changed}.items() if id_ in there}
        return replace(
            self,
            version=number,
            text=text,
            changes=changes,
            renames={**self.renames, **renamed},
            appeared={**self.appeared, **new},
        )


def _changed_segments(before: EditedTranscript, after: EditedTranscript) -> Iterable[int]:
    known = {segment.id: segment for segment in before.segments}
    for segment in after.segments:
        old = known.get(segment.id)
        if old is not segment and old != segment:
            yield segment.id
