"""The scheduling policies by name: those of the server, and those that other packages bring."""

from __future__ import annotations

from optimizer.planning.in_order import first_come_first_served
from optimizer.planning.plan import Plan
from optimizer.planning.planner import plan
from optimizer.planning.policy import QueueOrder, SchedulingPolicy, Situation
from whisper_core.common.extensions import Seam, load, refused


def plan_fairly(situation: Situation) -> Plan:
    """See `planner`."""
    return plan(
        situation.waiting,
        situation.devices,
        situation.estimates,
        situation.times,
        situation.models,
        situation.limits,
        situation.now,
    )


FAIR = SchedulingPolicy("fair", plan_fairly, is_built_in=True)
FCFS = SchedulingPolicy("fcfs", first_come_first_served, QueueOrder.ARRIVAL, is_built_in=True)
BUILT_IN = {policy.name: policy for policy in (FAIR, FCFS)}


def policy_named(name: str) -> SchedulingPolicy:
    """name: of SCHEDULING_POLICY. Raises InvalidSettingsError for a policy that cannot be loaded."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    found = load(Seam.POLICY, name)
    if isinstance(found, SchedulingPolicy):
        if callable(found.decide) and isinstance(found.order, QueueOrder):
            return SchedulingPolicy(name, found.decide, found.order)
    elif callable(found) and not isinstance(found, type):
        return SchedulingPolicy(name, found)
    raise refused(Seam.POLICY, name, "it is neither a SchedulingPolicy nor a function of a Situation")
