"""More nodes get more done: with windows of a given time, as many times more as there are nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cluster import share_of_linear, throughput

NODES = (1, 2, 4)


@pytest.mark.timeout(600)
def test_one_two_and_four_nodes_get_done_what_they_should(tmp_path: Path) -> None:
    measured = list(throughput(tmp_path, NODES))
    shares = [share_of_linear(each, measured[0]) for each in measured]
    assert min(shares) >= 0.9, measured
