"""Reads the text of single options. An absent text and an empty one both mean the default; errors name the option."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from errors import InvalidOptionError
from whisper_core.audio.tracks import MAX_TRACKS, track_name
from whisper_core.text.options import MAX_PROMPT_CHARACTERS

MAX_CLIP_TIMES = 200
MAX_TOKEN_IDS = 500
_MOST_SECONDS = 1_000_000

_TRUE, _FALSE = frozenset({"true", "1", "on", "yes"}), frozenset({"false", "0", "off", "no"})
_OFF = "none"  # as openai-whisper's command line spells it
_TOKEN_ID = re.compile("[0-9]{1,6}")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class OptionTexts:
    """texts: what was sent, by the option's name."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def choice(self, name: str, allowed: Mapping[str, Any], default: str) -> Any:
        try:
            return allowed[self._texts.get(name) or default]
        except KeyError:
            raise InvalidOptionError(f"Must be one of {', '.join(allowed)}.", field=name) from None

    def track(self, name: str) -> str | None:
        """In one spelling, so that the same track is the same option. None: none was sent."""
        text = self._texts.get(name, "")
        if not text:
            return None
        track = track_name(text)
        if track is None:
            raise InvalidOptionError(
                f"Must be the number of a sound track, from 1 to {MAX_TRACKS}, or its language, such as de, ger or "
                "German; nothing for the default track.",
                field=name,
            )
        return track

    def flag(self, name: str, *, default: bool = False) -> bool:
        word = self._texts.get(name, "").lower()
        if word and word not in _TRUE | _FALSE:
            raise InvalidOptionError("Must be true or false.", field=name)
        return word in _TRUE if word else default

    def prompt(self, name: str) -> str | None:
        text = self._texts.get(name, "")
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise InvalidOptionError(f"Must have at most {MAX_PROMPT_CHARACTERS} characters.", field=name)
        return _UNPRINTABLE.sub(" ", text) or None

    def number(self, name: str, least: float, most: float) -> float | None:
        """None: none was sent."""
        text = self._texts.get(name, "")
        if not text:
            return None
        value = _number(text)
        if not least <= value <= most:
            raise InvalidOptionError(f"Must be a number from {least:g} to {most:g}, or empty.", field=name)
        return value

    def whole_number(self, name: str, least: int, most: int) -> int | None:
        """None: none was sent."""
        text = self._texts.get(name, "")
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise InvalidOptionError(f"Must be a whole number from {least} to {most}, or empty.", field=name)
        return int(text)

    def token_ids(self, name: str, end: int, default: str) -> str:
        """Comma-separated, in one spelling. Empty for the word `none`. end: the ids of text are below it."""
        text = self._texts.get(name, "")
        if not text:
            return default
        if text.lower() == _OFF:
            return ""
        parts = [part.strip() for part in text.split(",")]
        is_known = all(part == "-1" or (_TOKEN_ID.fullmatch(part) and int(part) < end) for part in parts)
        if not is_known or len(parts) > MAX_TOKEN_IDS:
            raise InvalidOptionError(
                f"Must be ids of this model's text tokens, 0 to {end - 1}, with commas between them, "
                f"at most {MAX_TOKEN_IDS}; -1 for most symbols; or none.",
                field=name,
            )
        return ",".join(str(token) for token in sorted({int(part) for part in parts}))

    def threshold(self, name: str, least: float, most: float, default: float | None) -> float | None:
        """None: the threshold is off, as the word `none` says."""
        text = self._texts.get(name, "")
        if not text:
            return default
        if text.lower() == _OFF:
            return None
        value = _number(text)
        if not least <= value <= most:
            raise InvalidOptionError(f"Must be a number from {least:g} to {most:g}, or none.", field=name)
        return value

    def clip_timestamps(self, name: str, default: str) -> str:
        """Times in seconds, ascending, in one spelling, so that the same clips are the same option."""
        text = self._texts.get(name, "")
        if not text:
            return default
        times = [_number(part) for part in text.split(",")]
        is_ascending = all(before <= after for before, after in pairwise(times))  # also false for NaN
        if not (is_ascending and times[0] >= 0 and times[-1] <= _MOST_SECONDS and len(times) <= MAX_CLIP_TIMES):
            raise InvalidOptionError(
                f"Must be start,end,start,end … in seconds, ascending, at most {MAX_CLIP_TIMES} of them; "
                "without the last end, to the end of the recording.",
                field=name,
            )
        return ",".join(f"{time:.2f}".rstrip("0").rstrip(".") for time in times)


def _number(text: str) -> float:
    """NaN, which is within no bounds, for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
