"""How subtitles are cut into cues and lines, and what is left out of a file."""

from __future__ import annotations

from dataclasses import dataclass

from errors import InvalidOptionError
from whisper_core.text.transcript import Transcript


@dataclass(frozen=True, kw_only=True)
class WriterOptions:
    """openai-whisper's options of the same names, with its meaning. Formats without cues ignore them, as there. Only
    without_speakers is ours, and for every format.

    Raises InvalidOptionError for a number below 1.
    """

    max_line_width: int | None = None  # characters in a line; a longer word is not cut. None: 1000
    max_line_count: int | None = None  # lines in a cue; only with max_line_width. Cues then ignore the segments
    max_words_per_line: int | None = None  # words in a cue; no effect with both of the above
    highlight_words: bool = False  # a cue for each word, in which it is underlined while it is said
    without_speakers: bool = False  # nothing says who speaks, although that is known

    def __post_init__(self) -> None:
        for name in ("max_line_width", "max_line_count", "max_words_per_line"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidOptionError(f"{name} must be 1 or more.", field=name)

    @property
    def needing_words(self) -> str | None:
        """An option that only a transcript with word timestamps can keep. To break a line needs none."""
        if self.highlight_words:
            return "highlight_words"
        if self.max_words_per_line is not None:
            return "max_words_per_line"
        return "max_line_count" if self.max_line_count is not None and self.max_line_width is not None else None

    def missing_in(self, transcript: Transcript) -> str | None:
        """The option that cannot be kept because this transcript has no word timestamps."""
        return None if not transcript.segments or transcript.has_words else self.needing_words

    def without_words(self) -> WriterOptions:
        """What of it can be kept for a transcript without word timestamps."""
        return WriterOptions(max_line_width=self.max_line_width, without_speakers=self.without_speakers)


PLAIN = WriterOptions()  # a cue for each segment, in one line
