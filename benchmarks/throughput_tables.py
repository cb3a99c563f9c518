"""What `benchmarks.throughput` measured, as tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks import contenders as who
from benchmarks.contenders import median_run
from benchmarks.document import table
from benchmarks.measurement import Measurement, Text
from benchmarks.recordings import Recording
from benchmarks.scores import normalised_error_rate, share_of_equal_segments, share_of_identical_texts

Runs = Mapping[str, Sequence[Measurement]]

COMPARISON_HEADS = (
    "", "RTFx end to end", "RTFx inside", "× openai-whisper", "× faster-whisper batched", "windows/s", "tokens/window",
    "occupancy", "fell back", "WER", "segments equal", "texts identical", "peak memory, MiB",
)  # fmt: skip
GROWTH_HEADS = (
    "tasks at once", "RTFx end to end", "RTFx inside the engine", "× one task, end to end", "× one task, inside",
    "windows/s", "occupancy",
)  # fmt: skip
UNKNOWN = "–"


def comparison(runs: Runs, recordings: Sequence[Recording], modes: Sequence[str]) -> str:
    """Everyone on the same recordings. Ratios are of end to end where a server was measured, else of inside."""
    upstream = median_run(runs[who.OPENAI])
    batched = median_run(runs[who.BATCHED]) if who.BATCHED in runs else None
    rows = []
    for title, server, engine in _sides(runs, modes):
        speaking = engine or server  # who knows of windows and tokens
        wall = server or engine
        assert speaking is not None
        assert wall is not None
        rows.append(
            [
                title,
                _speed(server, recordings),
                _speed(engine, recordings),
                f"{upstream.seconds / wall.seconds:.2f}",
                f"{batched.seconds / wall.seconds:.2f}" if batched else UNKNOWN,
                *_work(speaking),
                *_truth(wall.texts, upstream.texts, recordings),
                " / ".join(f"{side.peak_bytes / 2**20:.0f}" for side in (server, engine) if side),
            ]
        )
    return table(COMPARISON_HEADS, rows)


def growth(by_count: Mapping[int, Runs], recordings: Sequence[Recording], mode: str = "exact") -> str:
    """Speed of this project with so many tasks at once: the first so many recordings."""
    names = (who.server_name(mode), who.engine_name(mode))
    rows = []
    first: dict[str, float] = {}
    for count, runs in sorted(by_count.items()):
        sides = {name: median_run(runs[name]) for name in names if name in runs}
        server, engine = (sides.get(name) for name in names)
        speeds = {name: _rtfx(run, recordings[:count]) for name, run in sides.items()}
        first = first or speeds
        gains = [f"{speeds[name] / first[name]:.2f}" if name in speeds else UNKNOWN for name in names]
        windows, _, occupancy, _ = _work(engine) if engine else (UNKNOWN,) * 4
        sound = recordings[:count]
        rows.append([str(count), _speed(server, sound), _speed(engine, sound), *gains, windows, occupancy])
    return table(GROWTH_HEADS, rows)


def health(runs: Runs) -> str:
    """One sentence over all runs of the server; empty without one."""
    times = sorted(ms for measurements in runs.values() for run in measurements for ms in run.health_ms)
    if len(times) < 2:
        return ""
    last_percent = statistics.quantiles(times, n=100, method="inclusive")[98]
    return (
        f"`/healthz`, asked every 100 ms by another process meanwhile: median {statistics.median(times):.1f} ms, "
        f"99 of 100 within {last_percent:.1f} ms, largest {times[-1]:.1f} ms ({len(times)} answers)."
    )


def _sides(runs: Runs, modes: Sequence[str]) -> list[tuple[str, Measurement | None, Measurement | None]]:
    """(title, end to end, inside) of every row."""
    rows: list[tuple[str, Measurement | None, Measurement | None]] = [
        (name, None, median_run(runs[name])) for name in (who.OPENAI, who.SEQUENTIAL, who.BATCHED) if name in runs
    ]
    for mode in modes:
        server, engine = (
            median_run(runs[name]) if name in runs else None for name in (who.server_name(mode), who.engine_name(mode))
        )
        if server or engine:
            rows.append((f"this project, {mode}", server, engine))
    return rows


def _work(run: Measurement) -> tuple[str, str, str, str]:
    """windows/s, tokens/window, occupancy, share that fell back."""
    if not run.windows:
        return (UNKNOWN,) * 4
    return (
        f"{run.windows / run.seconds:.2f}",
        f"{run.tokens / run.windows:.0f}" if run.tokens is not None else UNKNOWN,
        _percent(run.occupancy),
        _percent(run.fallbacks / run.windows if run.fallbacks is not None else None),
    )


def _truth(texts: Mapping[str, Text], upstream: Mapping[str, Text], recordings: Sequence[Recording]) -> list[str]:
    return [
        f"{normalised_error_rate(recordings, texts):.4f}",
        _percent(share_of_equal_segments(texts, upstream)),
        _percent(share_of_identical_texts(texts, upstream)),
    ]


def _speed(run: Measurement | None, recordings: Sequence[Recording]) -> str:
    return UNKNOWN if run is None else f"{_rtfx(run, recordings):.1f}"


def _rtfx(run: Measurement, recordings: Sequence[Recording]) -> float:
    return sum(recording.seconds for recording in recordings) / run.seconds


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.0f} %"
