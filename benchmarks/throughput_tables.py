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
# Title, end to end, inside.
Row = tuple[str, Measurement | None, Measurement | None]

COMPARISON_HEADS = (
    "", "RTFx end to end", "RTFx inside", "WER", "× {first}", "× fastest other", "windows/s", "tokens/window",
    "occupancy", "fell back", "segments equal", "texts identical", "peak memory, MiB",
)  # fmt: skip
GROWTH_HEADS = (
    "tasks at once", "RTFx end to end", "RTFx inside the engine", "WER", "× one task, end to end", "× one task, inside",
    "windows/s", "occupancy",
)  # fmt: skip
UNKNOWN = "–"


def comparison(
    runs: Runs, recordings: Sequence[Recording], modes: Sequence[str], upstream: Mapping[str, Text] | None
) -> str:
    """Everyone on the same recordings. Ratios are of end to end where a server was measured, else of inside.

    upstream: openai-whisper's texts of the same recordings, None where it was not measured.
    """
    rows = _rows(runs, modes)
    walls = [_wall(row) for row in rows]
    others = [wall for wall, (title, _, _) in zip(walls, rows, strict=True) if title in runs]
    fastest = min((other.seconds for other in others), default=None)
    first = others[0].seconds if others else None
    cells = [
        [
            title,
            _speed(server, recordings),
            _speed(engine, recordings),
            _error_rates([server, engine], recordings),
            _ratio(first, wall),
            _ratio(fastest, wall),
            *_work(engine or server),
            *_equality(wall.texts, upstream),
            " / ".join(f"{side.peak_bytes / 2**20:.0f}" for side in (server, engine) if side),
        ]
        for (title, server, engine), wall in zip(rows, walls, strict=True)
    ]
    return table([head.format(first=rows[0][0]) for head in COMPARISON_HEADS], cells)


def growth(by_count: Mapping[int, Runs], recordings: Sequence[Recording], mode: str = "exact") -> str:
    """Speed of this project with so many tasks at once: the first so many recordings."""
    names = (who.server_name(mode), who.engine_name(mode))
    rows = []
    first: dict[str, float] = {}
    for count, runs in sorted(by_count.items()):
        sides = {name: median_run(runs[name]) for name in names if name in runs}
        server, engine = (sides.get(name) for name in names)
        sound = recordings[:count]
        speeds = {name: _rtfx(run, sound) for name, run in sides.items()}
        first = first or speeds
        gains = [f"{speeds[name] / first[name]:.2f}" if name in speeds else UNKNOWN for name in names]
        windows, _, occupancy, _ = _work(engine)
        rows.append(
            [
                str(count),
                _speed(server, sound),
                _speed(engine, sound),
                _error_rates([server, engine], sound),
                *gains,
                windows,
                occupancy,
            ]
        )
    return table(GROWTH_HEADS, rows)


def spread(runs: Runs) -> str:
    """One sentence on how far repeated runs lay apart; empty where nothing was repeated."""
    apart = {
        name: (max(run.seconds for run in measured) - min(run.seconds for run in measured))
        / median_run(measured).seconds
        for name, measured in runs.items()
        if len(measured) > 1
    }
    if not apart:
        return ""
    widest = max(apart, key=apart.__getitem__)
    return f"Runs of one contender lay at most {_percent(apart[widest])} of their median apart (*{widest}*)."


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


def _rows(runs: Runs, modes: Sequence[str]) -> list[Row]:
    """The other projects as they were measured, then this one's modes."""
    own = {name(mode) for name in (who.server_name, who.engine_name) for mode in modes}
    rows: list[Row] = [(name, None, median_run(measured)) for name, measured in runs.items() if name not in own]
    for mode in modes:
        server, engine = (
            median_run(runs[name]) if name in runs else None for name in (who.server_name(mode), who.engine_name(mode))
        )
        if server or engine:
            rows.append((f"this project, {mode}", server, engine))
    return rows


def _wall(row: Row) -> Measurement:
    _, server, engine = row
    wall = server or engine
    assert wall is not None
    return wall


def _work(run: Measurement | None) -> tuple[str, str, str, str]:
    """windows/s, tokens/window, occupancy, share that fell back."""
    if run is None or not run.windows:
        return (UNKNOWN,) * 4
    return (
        f"{run.windows / run.seconds:.2f}",
        f"{run.tokens / run.windows:.0f}" if run.tokens is not None else UNKNOWN,
        _percent(run.occupancy),
        _percent(run.fallbacks / run.windows if run.fallbacks is not None else None),
    )


def _error_rates(runs: Sequence[Measurement | None], recordings: Sequence[Recording]) -> str:
    """One for each run, once where they agree."""
    rates = [f"{normalised_error_rate(recordings, run.texts):.4f}" for run in runs if run]
    return " / ".join(dict.fromkeys(rates))


def _equality(texts: Mapping[str, Text], upstream: Mapping[str, Text] | None) -> tuple[str, str]:
    if upstream is None:
        return UNKNOWN, UNKNOWN
    return (
        _percent(share_of_equal_segments(texts, upstream)),
        _percent(share_of_identical_texts(texts, upstream)),
    )


def _ratio(seconds: float | None, run: Measurement) -> str:
    return UNKNOWN if seconds is None else f"{seconds / run.seconds:.2f}"


def _speed(run: Measurement | None, recordings: Sequence[Recording]) -> str:
    return UNKNOWN if run is None else f"{_rtfx(run, recordings):.1f}"


def _rtfx(run: Measurement, recordings: Sequence[Recording]) -> float:
    return sum(recording.seconds for recording in recordings) / run.seconds


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.0f} %"
