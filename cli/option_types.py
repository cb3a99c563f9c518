"""How openai-whisper's command spells the values of its options."""

from __future__ import annotations

from itertools import pairwise

import click

from whisper_core.audio.tracks import MAX_TRACKS, track_name

NUM_TEXT_TOKENS = 50256  # that every model has
MAX_TOKEN_IDS = 500  # as the HTTP API


class YesNo(click.ParamType[bool]):
    """`True` or `False`; the option without a value is True."""

    name = "True|False"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        word = str(value).lower()
        if word not in ("true", "false"):
            spelling = param.opts[0] if param else "the option"
            self.fail(f"{value!r} is neither True nor False. Before a file write `{spelling} True`.", param, ctx)
        return word == "true"


class NumberOrNone(click.ParamType[float | None]):
    """A number within bounds, or `None`."""

    name = "number|None"

    def __init__(self, least: float, most: float, *, whole: bool = False) -> None:
        self._range = click.FloatRange(least, most)
        self._is_whole = whole

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        if str(value).lower() == "none":
            return None
        number = float(self._range.convert(str(value), param, ctx))  # type: ignore[arg-type]
        if not self._is_whole:
            return number
        if not number.is_integer():
            self.fail(f"{value} is not a whole number.", param, ctx)
        return int(number)


class ClipTimes(click.ParamType[str]):
    name = "start,end,…"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            times = [float(part) for part in text.split(",")]
        except ValueError:
            times = [-1.0]
        if not (times[0] >= 0 and all(before <= after for before, after in pairwise(times))):
            self.fail("Must be start,end,start,end … in seconds, ascending.", param, ctx)
        return text


class TokenIds(click.ParamType[str]):
    """Empty, or `None`: no filter."""

    name = "id,id,…"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        if text.lower() in ("", "none"):
            return ""
        try:
            ids = {int(part) for part in text.split(",")}
        except ValueError:
            ids = {-2}
        if not all(-1 <= token < NUM_TEXT_TOKENS for token in ids) or len(ids) > MAX_TOKEN_IDS:
            self.fail(f"Must be at most {MAX_TOKEN_IDS} numbers from 0 to {NUM_TEXT_TOKENS - 1}, or -1.", param, ctx)
        return ",".join(str(token) for token in sorted(ids))


class Track(click.ParamType[str]):
    """A sound track's number, or its language."""

    name = "number|language"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        track = track_name(str(value))
        if track is None:
            self.fail(f"Must be a number from 1 to {MAX_TRACKS}, or a language such as de or German.", param, ctx)
        return track


TOKEN_IDS = TokenIds()
TRACK = Track()
YES_NO = YesNo()
CLIP_TIMES = ClipTimes()
