"""The pictures of docs/scheduling.md and docs/scale.md, from the results that the benchmark stored. Needs matplotlib.

python benchmarks/scheduling/plots.py docs/scheduling
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update(
    {"svg.hashsalt": "scheduling", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
)
from matplotlib import pyplot  # noqa: E402

COLOURS = ("#8a8f98", "#c98a2b", "#4f86c6", "#2a9d6f")
SIZE = (8.0, 4.0)


def waits_by_load(found: Mapping[str, Any], folder: Path) -> None:
    figure, axes = pyplot.subplots(1, 2, figsize=SIZE, sharey=True)
    for axis, pattern in zip(axes, ("poisson", "bursty"), strict=True):
        rows = [row for row in found["light"] if row["pattern"] == pattern]
        for colour, scheme in zip(COLOURS, dict.fromkeys(row["scheme"] for row in rows), strict=False):
            own = [row for row in rows if row["scheme"] == scheme]
            waits = [max(row["mean_wait"], 0.01) for row in own]
            axis.plot([row["load"] for row in own], waits, marker="o", color=colour, label=scheme)
        axis.set(title=f"{pattern} arrivals", xlabel="load of one task at a time", yscale="log")
    axes[0].set_ylabel("mean wait, s (0.01: none)")
    axes[0].legend(frameon=False, fontsize=8)
    save(figure, folder / "waits.svg")


def decision_times(found: Mapping[str, Any], folder: Path) -> None:
    figure, axis = pyplot.subplots(figsize=SIZE)
    counts = [int(count) for count in found["seconds"]]
    ordered = [sorted(1000 * each for each in seconds) for seconds in found["seconds"].values()]
    for share, name, colour in ((0.5, "median", COLOURS[3]), (0.99, "99th percentile", COLOURS[2])):
        axis.plot(counts, [each[int(share * len(each))] for each in ordered], marker="o", color=colour, label=name)
    axis.axhline(2.0, color=COLOURS[0], linestyle=":", label="2 ms")
    axis.set(xscale="log", xlabel="tasks waiting", ylabel="a decision, ms", ylim=(0, None))
    axis.legend(frameon=False)
    save(figure, folder / "decisions.svg")


def real_waits(found: Mapping[str, Any], folder: Path) -> None:
    figure, axes = pyplot.subplots(1, 2, figsize=SIZE)
    for colour, run in zip((COLOURS[0], COLOURS[2], COLOURS[3]), found["runs"], strict=True):
        for axis, key in zip(axes, ("waits", "responses"), strict=True):
            values = sorted(run[key])
            axis.step(values, share_of(values), where="post", color=colour, label=run["name"])
    axes[0].set(xlabel="waited for at most, s", ylabel="part of the recordings")
    axes[1].set(xlabel="text was there after, s")
    axes[0].legend(frameon=False, fontsize=8)
    save(figure, folder / "real.svg")


def scaling(found: Mapping[str, Any], folder: Path) -> None:
    figure, (times, waits) = pyplot.subplots(1, 2, figsize=SIZE)
    cards = [row["cards"] for row in found["rows"]]
    for key, colour in (("median", COLOURS[3]), ("p99", COLOURS[2])):
        times.plot(cards, [row["round_cpu_ms"][key] for row in found["rows"]], marker="o", color=colour, label=key)
    times.set(xscale="log", yscale="log", xlabel="cards", ylabel="CPU time of a planning round, ms")
    for key, colour in (("p50", COLOURS[3]), ("p95", COLOURS[2]), ("p99", COLOURS[1])):
        seconds = [max(row["waits"][key], 0.1) for row in found["rows"]]
        waits.plot(cards, seconds, marker="o", color=colour, label=key)
    waits.set(xscale="log", yscale="log", xlabel="cards", ylabel="wait, s (0.1: less)")
    for axis in (times, waits):
        axis.legend(frameon=False)
    save(figure, folder / "scale.svg")


def share_of(values: Sequence[float]) -> list[float]:
    return [(place + 1) / len(values) for place in range(len(values))]


def save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    folder = Path(sys.argv[1])
    drawn = {"simulation": waits_by_load, "decisions": decision_times, "scale": scaling, "real": real_waits}
    for part, draw in drawn.items():
        file = folder / f"{part}.json"
        if file.exists():
            draw(json.loads(file.read_text()), folder)


if __name__ == "__main__":
    main()
