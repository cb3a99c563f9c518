"""A metric: how many of a hundred tasks failed, since the server started."""

from optimizer.monitoring.figures import Figures
from optimizer.monitoring.metric import Metric
from optimizer.tasks.task import TaskStatus


def read(figures: Figures) -> float | None:
    failed = figures.entered.get(TaskStatus.FAILED, 0)
    ended = failed + figures.entered.get(TaskStatus.COMPLETED, 0)
    return 100 * failed / ended if ended else None


FAILED_SHARE = Metric(read, title="Failed tasks", unit="%")
