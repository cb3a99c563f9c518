"""Durations, sizes and times as text."""

from __future__ import annotations

from datetime import UTC, datetime


def duration(seconds: float) -> str:
    """For people: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def in_gigabytes(nbytes: int) -> str:
    """At least 0.1 GB, so that a shortage never reads as none."""
    return f"{max(0.1, nbytes / 1e9):.1f} GB"


def iso_time(moment: datetime) -> str:
    """A moment with a time zone in UTC, as the API gives it: `2026-11-28T09:30:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
