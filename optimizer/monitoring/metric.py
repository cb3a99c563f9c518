"""What an extra metric is, and the extra metrics that the settings name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optimizer.monitoring.figures import Figures
from whisper_core.common.extensions import Seam, load, refused

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
Read = Callable[[Figures], float | None]


@dataclass(frozen=True)
class Metric:
    """A figure that is read every PERFORMANCE_MONITOR_INTERVAL: a line at /metrics, a plot in the System view."""

    read: Read  # the value now; None while there is none
    title: str  # of the plot
    name: str = ""  # the line's is whisper_extra_ and this; empty: as the extension is called
    unit: str = ""  # written behind the plot's figures


def metrics_named(names: Sequence[str]) -> list[Metric]:
    """names: of EXTRA_METRICS. Raises InvalidSettingsError for one that cannot be loaded."""
    metrics: list[Metric] = []
    for name in names:
        metric = _metric(name, load(Seam.METRIC, name))
        if not _NAME.fullmatch(metric.name):
            raise refused(Seam.METRIC, name, f"{metric.name!r} is no name: small letters, digits and _ only")
        if any(other.name == metric.name for other in metrics):
            raise refused(Seam.METRIC, name, f"there are two that are called {metric.name}")
        metrics.append(metric)
    return metrics


def _metric(called: str, found: object) -> Metric:
    name = called.rpartition(":")[2].rpartition(".")[2].replace("-", "_").lower()
    if isinstance(found, Metric) and callable(found.read):
        return Metric(found.read, str(found.title), found.name or name, str(found.unit))
    if callable(found) and not isinstance(found, type | Metric):
        title = (found.__doc__ or name.replace("_", " ")).strip().splitlines()[0].rstrip(".")
        return Metric(found, title, name)
    raise refused(Seam.METRIC, called, "it is neither a Metric nor a function of Figures")
