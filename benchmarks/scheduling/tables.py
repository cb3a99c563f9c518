"""The tables of docs/scheduling.md, from the results that the benchmark stored."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.document import table
from benchmarks.scheduling.scenarios import PLAIN
from optimizer.planning.plan import PlanLimits
from optimizer.queue.ordering import MAX_PATIENCE_S

Found = Mapping[str, Any]
BOUND_S = MAX_PATIENCE_S + PlanLimits().overtake_limit_s


def about(found: Found) -> str:
    return f"{found['machine']}. {found['date']}. `{found['command']}`"


def simulation(found: Found) -> str:
    service = found["service"]
    parts = [about(found), _service(service)]
    parts += ["#### Loads that one task at a time keeps up with", _rows(found["light"])]
    parts += ["#### Loads that only batches keep up with", _rows(found["heavy"])]
    parts += ["#### Four devices, on each of which one model fits at a time", _rows(found["four"])]
    return "\n\n".join(parts)


def _service(service: Found) -> str:
    heads = ["model", "speed, one task", "gain of 2, 4, 8, 16 tasks", "loading, s", "openai-whisper, 1 and 2 processes"]
    rows = [
        [
            name,
            f"{model['speed']:.1f} ×",
            " / ".join(f"{gain:.2f}" for _, gain in model["gain"][1:]),
            f"{model['load_seconds']:.1f}",
            " / ".join(f"{speed:.1f} ×" for _, speed in model["upstream"]),
        ]
        for name, model in service["models"].items()
    ]
    return f"Measured on the real engine ({service['machine']}, {service['date']}):\n\n" + table(heads, rows)


def _rows(rows: Sequence[Found]) -> str:
    heads = [
        "scheme", "arrivals", "load", "throughput", "mean wait, s", "p95, s", "longest, s", "wait saved",
        "mean time to text, s", "reserved memory in use", "loads", "stepped aside",
    ]  # fmt: skip
    baselines = {_where(row): row["mean_wait"] for row in rows if row["scheme"] == PLAIN}
    return table(
        heads,
        [
            [
                row["scheme"],
                row["pattern"],
                _load(row),
                f"{row['throughput']:.2f}",
                *(f"{row[key]:.1f}" for key in ("mean_wait", "p95_wait", "most_wait")),
                _saved(row["mean_wait"], baselines.get(_where(row))),
                f"{row['mean_response']:.1f}",
                f"{row['memory_in_use']:.0%}",
                f"{row['loads']:,}",
                f"{row['stepped_aside']:,}",
            ]
            for row in rows
        ],
    )


def _where(row: Found) -> tuple[Any, ...]:
    return (row["pattern"], row["load"], row["devices"])


def _load(row: Found) -> str:
    if row["capacity_load"] is None:
        return f"{row['load']:.2f}"
    return f"{row['load']:.2f} ({row['capacity_load']:.2f} of the engine's)"


def _saved(wait: float, baseline: float | None) -> str:
    return "–" if not baseline or wait == baseline else f"{1 - wait / baseline:.0%}"


def one_place(found: Found) -> str:
    heads = [
        "times as fast", "scheme", "load", "mean wait, s", "p95, s", "longest, s", "mean time to text, s",
        "stepped aside",
    ]  # fmt: skip
    rows = [
        [
            f"{speed} ×",
            row["scheme"],
            _load(row),
            *(f"{row[key]:.1f}" for key in ("mean_wait", "p95_wait", "most_wait", "mean_response")),
            f"{row['stepped_aside']:,}",
        ]
        for speed, of_machine in found["machines"].items()
        for row in of_machine
    ]
    return about(found) + "\n\n" + table(heads, rows)


def million(found: Found) -> str:
    rows = found["rows"]
    figures: dict[str, Callable[[Found], str]] = {
        "tasks": lambda row: f"{row['tasks']:,}",
        "load": _load,
        "starts after which more memory was used than the device has": lambda row: f"{row['over_memory']:,}",
        "reserved memory in use": lambda row: f"{row['memory_in_use']:.0%}",
        "models loaded": lambda row: f"{row['loads']:,}",
        "mean, 95th percentile and longest wait, s": _three,
        f"a task was passed by one of its owner that had come later by at most, s (bound: {BOUND_S:.0f})": (
            lambda row: f"{row['passed_most']:.0f}"
        ),
        "tasks that stepped aside": lambda row: f"{row['stepped_aside']:,}",
        "a decision's CPU time, 99th percentile, ms": lambda row: f"{row['decision_p99_ms']:.2f}",
    }
    names = {"tight": "room for one model at a time", "roomy": "room for all"}
    heads = ["", *(names[row["memory"]] for row in rows)]
    return about(found) + "\n\n" + table(heads, [[name, *map(show, rows)] for name, show in figures.items()])


def _three(row: Found) -> str:
    return " / ".join(f"{row[key]:.1f}" for key in ("mean_wait", "p95_wait", "most_wait"))


def scale(found: Found) -> str:
    rows = found["rows"]
    figures: dict[str, Callable[[Found], str]] = {
        "tasks": lambda row: f"{row['tasks']:,}",
        "tasks that arrive a second": lambda row: f"{row['tasks'] / row['arriving_s']:.2f}",
        "simulated time until the last one, h": lambda row: f"{row['arriving_s'] / 3600:.2f}",
        "planning rounds": lambda row: f"{row['rounds']:,}",
        "a round's CPU time, median / p95 / p99 / longest, ms": lambda row: " / ".join(
            f"{row['round_cpu_ms'][key]:.1f}" for key in ("median", "p95", "p99", "longest")
        ),
        "the planner's share of a core": lambda row: f"{row['share_of_core']:.2%}",
        "planner's CPU time per task, ms": lambda row: f"{1000 * row['planner_cpu_s'] / row['tasks']:.2f}",
        "most tasks waiting": lambda row: f"{row['most_waiting']:,}",
        "rounds that began with tasks left waiting": lambda row: f"{row['contended']:.0%}",
        "wait, p50 / p95 / p99 / longest, s": lambda row: _waits(row["waits"]),
        "of the five owners who bring most": lambda row: _waits(row["heavy_waits"]),
        "of the other 95": lambda row: _waits(row["light_waits"]),
        "Jain's index (owners judged)": lambda row: f"{row['jain']:.3f} ({row['judged_owners']})",
        "least share of an owner, of what it was entitled to": lambda row: f"{row['least_ratio']:.0%}",
        f"passed by one of its owner that came later by at most, s (bound: {BOUND_S:.0f})": (
            lambda row: f"{row['passed_most']:.0f}"
        ),
        "starts after which more memory was used than a card has": lambda row: f"{row['over_memory']:,}",
        "slots in use: least, mean, most of a card": lambda row: " / ".join(f"{s:.0%}" for s in row["utilisation"]),
        "work done by a card: coefficient of variation": lambda row: f"{row['balance_cv']:.3f}",
        "busy time of a card: coefficient of variation": lambda row: f"{row['busy_cv']:.3f}",
        "peak memory of the simulation, MB": lambda row: f"{row['peak_bytes'] / 1e6:.0f}",
        "what it grew by per task, bytes": lambda row: f"{row['bytes_per_task']:,.0f}",
    }
    heads = ["cards", *(f"{row['cards']:,}" for row in rows)]
    return about(found) + "\n\n" + table(heads, [[name, *map(show, rows)] for name, show in figures.items()])


def rounds(found: Found) -> str:
    heads = [
        "cards",
        "× real time",
        "rounds",
        "tasks started in one, at most",
        "a round, ms",
        "and each task that it starts, ms",
    ]
    rows = [
        [f"{row['cards']:,}", f"{row['card_speed']:,.0f}", f"{row['rounds']:,}", f"{row['started_most']:,}",
         f"{row['round_ms']:.2f}", f"{row['task_ms']:.3f}"]
        for row in found["rows"]
    ]  # fmt: skip
    return about(found) + "\n\n" + table(heads, rows)


def loop(found: Found) -> str:
    figures = {
        "watching the workers, checking the ledgers, ms": "supervising_ms",
        "what the planner is shown, ms": "views_ms",
        "and of all running tasks where it asks for them, ms": "briefs_ms",
    }
    heads = ["devices", *(f"{row['devices']:,}" for row in found["rows"])]
    lines = [[name, *(f"{row[key]:.3f}" for row in found["rows"])] for name, key in figures.items()]
    return about(found) + "\n\n" + table(heads, lines)


def _waits(waits: Found) -> str:
    return " / ".join(f"{waits[key]:.1f}" for key in ("p50", "p95", "p99", "most"))


def decisions(found: Found) -> str:
    heads = ["tasks waiting", "median, ms", "99th percentile, ms", "longest, ms"]
    rows = []
    for count, seconds in found["seconds"].items():
        ordered = sorted(1000 * each for each in seconds)
        chosen = [ordered[len(ordered) // 2], ordered[int(0.99 * len(ordered))], ordered[-1]]
        rows.append([f"{int(count):,}", *(f"{each:.2f}" for each in chosen)])
    return about(found) + "\n\n" + table(heads, rows)


def startup(found: Found) -> str:
    heads = ["tasks waiting", "starts, s", "median, s"]
    rows = [
        [f"{int(count):,}", ", ".join(f"{each:.2f}" for each in seconds), f"{statistics.median(seconds):.2f}"]
        for count, seconds in found["seconds"].items()
    ]
    return about(found) + "\n\n" + table(heads, rows)


def real(found: Found) -> str:
    lengths = [seconds for _, _, seconds in found["uploads"]]
    settings = "; ".join(
        f"{name}: {', '.join(f'`{key}={value}`' for key, value in values.items()) or 'none set'}"
        for name, values in found["settings"].items()
    )
    trace = (
        f"{len(lengths)} recordings of {min(lengths):.0f} to {max(lengths):.0f} s, {sum(lengths):.0f} s in all, in"
        f" bursts within {max(at for at, _, _ in found['uploads']):.0f} s, half with each model."
    )
    return "\n\n".join([about(found), trace, f"Settings: {settings}.", real_table(found)])


def real_table(found: Found) -> str:
    """The runs of a trace; the first one is the baseline."""
    heads = [
        "", "throughput, × real time", "× plain", "mean wait, s", "wait saved", "p95, s", "mean time to text, s",
        "reserved memory in use", "peak memory, MB", "loads", "texts identical",
    ]  # fmt: skip
    plain = found["runs"][0]
    speed = plain["audio_seconds"] / plain["span"]
    wait = sum(plain["waits"]) / len(plain["waits"])
    rows = []
    for run in found["runs"]:
        own_speed, own_wait = run["audio_seconds"] / run["span"], sum(run["waits"]) / len(run["waits"])
        rows.append(
            [
                run["name"],
                f"{own_speed:.1f}",
                f"{own_speed / speed:.2f}",
                f"{own_wait:.1f}",
                _saved(own_wait, wait),
                f"{sorted(run['waits'])[int(0.95 * len(run['waits']))]:.1f}",
                f"{sum(run['responses']) / len(run['responses']):.1f}",
                "–" if run is plain else f"{run['memory_in_use']:.0%}",
                f"{run['peak_used'] / 1e6:.0f}",
                str(run["loads"]),
                f"{run['identical_texts']} of {len(run['waits'])}",
            ]
        )
    return table(heads, rows)


WRITERS: Mapping[str, Callable[[Found], str]] = {
    "simulation": simulation,
    "one_place": one_place,
    "million": million,
    "scale": scale,
    "rounds": rounds,
    "loop": loop,
    "decisions": decisions,
    "startup": startup,
    "real": real,
    "minutes": real,
}
