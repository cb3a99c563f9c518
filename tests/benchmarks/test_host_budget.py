"""The host's share of an engine's work is measured on a device that costs nothing."""

from __future__ import annotations

from benchmarks.host_budget import measured


def test_every_figure_is_measured() -> None:
    figures = measured([1, 3], long_windows=3, repetitions=1)
    assert figures.keys() == {"round_us", "window_start_us", "window_end_us", "task_done_us"}
    assert list(figures["round_us"]) == ["1", "3"]
    assert all(isinstance(us, int) for us in (*figures["round_us"].values(), *list(figures.values())[1:]))
