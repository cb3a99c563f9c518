"""What one run of one contender brings, as it travels from the contender's process to the script.

Standard library only: the peers' environment reads this file too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Text:
    """One recording's transcript. segments: (start, end, text), seconds rounded to 10 ms."""

    text: str
    segments: tuple[tuple[float, float, str], ...]

    @classmethod
    def from_transcript(cls, transcript: dict[str, Any]) -> Text:
        """transcript: in openai-whisper's shape."""
        segments = ((segment["start"], segment["end"], segment["text"]) for segment in transcript["segments"])
        return cls(transcript["text"], tuple((round(start, 2), round(end, 2), text) for start, end, text in segments))


@dataclass(frozen=True)
class Measurement:
    """seconds: wall clock from handing over the recordings to their last transcript. texts: by the recordings' names.
    tokens: sampled, in all attempts. fallbacks: windows that used a temperature above the first. occupancy: share of
    the engine's slots that took part in a decoding step. peak_bytes: largest resident size during the run.
    health_ms: how long each `/healthz` took meanwhile. None and empty: not known for this contender.
    """

    seconds: float
    texts: dict[str, Text]
    peak_bytes: int
    windows: int | None = None
    tokens: int | None = None
    fallbacks: int | None = None
    occupancy: float | None = None
    health_ms: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Measurement:
        texts = {
            name: Text(text["text"], tuple((start, end, words) for start, end, words in text["segments"]))
            for name, text in fields["texts"].items()
        }
        return cls(**{**fields, "texts": texts, "health_ms": tuple(fields["health_ms"])})
