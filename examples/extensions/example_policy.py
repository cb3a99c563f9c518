"""A scheduling policy: the task with the least sound left goes first, however long the others have waited."""

from optimizer.planning.in_order import start_in_order
from optimizer.planning.plan import Plan
from optimizer.planning.policy import Situation
from optimizer.queue.ready_queue import WaitingTask


def shortest_first(situation: Situation) -> Plan:
    return start_in_order(situation, sorted(situation.waiting, key=_rank))


def _rank(task: WaitingTask) -> tuple[int, float, float]:
    return -task.priority, task.audio_left_seconds, task.seq
