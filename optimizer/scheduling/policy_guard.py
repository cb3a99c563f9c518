"""Asks the scheduling policy for a plan, and plans without it where its own is none."""

from __future__ import annotations

import logging

from optimizer.common.clock import Clock
from optimizer.planning.checked import checked
from optimizer.planning.plan import Plan
from optimizer.planning.policies import plan_fairly
from optimizer.planning.policy import SchedulingPolicy, Situation
from optimizer.scheduling.event_messages import EventMessages
from whisper_core.common.extensions import in_one_line

log = logging.getLogger(__name__)

TELL_EVERY_S = 60.0  # a policy that fails does so at every decision


class PolicyGuard:
    """Belongs to the scheduler's thread."""

    def __init__(self, policy: SchedulingPolicy, messages: EventMessages, clock: Clock) -> None:
        self._policy = policy
        self._messages = messages
        self._clock = clock
        self._faults = 0  # since they were last told of
        self._told_at = float("-inf")

    def plan(self, situation: Situation) -> Plan:
        """The policy's plan; the server's own where the policy raises or asks for what cannot be."""
        if self._policy.is_built_in:
            return self._policy.decide(situation)
        try:
            return checked(self._policy.decide(situation), situation)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever somebody else's code does, the tasks go on
            self._tell(error)
            return plan_fairly(situation)

    def _tell(self, error: BaseException) -> None:
        self._faults += 1
        now = self._clock.monotonic()
        if now - self._told_at < TELL_EVERY_S:
            return
        reason = in_one_line(error)
        log.error(
            "event=policy_failed policy=%s times=%d reason=%r", self._policy.name, self._faults, reason, exc_info=error
        )
        self._messages.tell_policy_failed(self._policy.name, reason)
        self._faults, self._told_at = 0, now
