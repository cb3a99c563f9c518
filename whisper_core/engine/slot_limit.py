"""How many windows a model may have in flight: fewer after memory ran out, and slowly more again while it suffices."""

from __future__ import annotations

CALM_STEPS = 1000  # that succeed before the limit doubles; about ten windows' worth
LONGEST_CALM_STEPS = 32 * CALM_STEPS


class SlotLimit:
    """slots: the most windows that are decoded at a time. encoder_batch: the most windows that are encoded together.

    When the limit grows and the memory is not there, all windows in flight are decoded again. So every time memory runs
    out, the limit waits for twice as many steps before it grows.
    """

    def __init__(self, slots: int, encoder_batch: int) -> None:
        self._most_slots = slots
        self._largest_encoder_batch = encoder_batch
        self.reset()

    @property
    def is_down_to_one(self) -> bool:
        """Whether memory was enough for a single window only."""
        return self.slots == 1 < self._most_slots

    def reset(self) -> None:
        """Return to the limits of the beginning."""
        self.slots, self.encoder_batch = self._most_slots, self._largest_encoder_batch
        self._steps_to_grow = CALM_STEPS
        self._calm_steps = 0

    def lower(self) -> bool:
        """Allow half as many from now on, even after a reset. False when it is a single one already."""
        if self._most_slots == 1:
            return False
        self._most_slots //= 2
        self._largest_encoder_batch = min(self._largest_encoder_batch, self._most_slots)
        self.reset()
        return True

    def shrink(self, in_flight: int) -> None:
        """Memory ran out with `in_flight` windows, more than one."""
        self.slots = max(1, min(self.slots, in_flight) // 2)
        self.encoder_batch = max(1, self.encoder_batch // 2)
        self._steps_to_grow = min(2 * self._steps_to_grow, LONGEST_CALM_STEPS)
        self._calm_steps = 0

    def step_succeeded(self) -> None:
        """A step of the decoder had enough memory."""
        if self.slots == self._most_slots and self.encoder_batch == self._largest_encoder_batch:
            return
        self._calm_steps += 1
        if self._calm_steps >= self._steps_to_grow:
            self._calm_steps = 0
            self.slots = min(2 * self.slots, self._most_slots)
            self.encoder_batch = min(2 * self.encoder_batch, self._largest_encoder_batch)
