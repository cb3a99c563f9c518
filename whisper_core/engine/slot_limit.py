"""How many windows a model may have at work: fewer after memory ran out, slowly more again while it does not."""

from __future__ import annotations

CALM_STEPS = 1000  # without trouble until the limit doubles; about ten windows' worth
LONGEST_CALM_STEPS = 32 * CALM_STEPS


class SlotLimit:
    """slots: windows that are decoded at the same time at most. encoder_batch: windows encoded together at most.

    Growing again where the memory is not there costs all windows at work a second decoding, so every time that memory
    runs out the next try comes after twice as many steps.
    """

    def __init__(self, slots: int, encoder_batch: int) -> None:
        self._most_slots = slots
        self._largest_encoder_batch = encoder_batch
        self.reset()

    @property
    def is_down_to_one(self) -> bool:
        """Whether memory was enough for one window only."""
        return self.slots == 1 < self._most_slots

    def reset(self) -> None:
        """Believe in the memory again."""
        self.slots, self.encoder_batch = self._most_slots, self._largest_encoder_batch
        self._wanted_calm = CALM_STEPS
        self._calm = 0

    def shrink(self, in_flight: int) -> None:
        """Memory ran out with so many windows at work, more than one."""
        self.slots = max(1, in_flight // 2)
        self.encoder_batch = max(1, self.encoder_batch // 2)
        self._wanted_calm = min(2 * self._wanted_calm, LONGEST_CALM_STEPS)
        self._calm = 0

    def step_done(self) -> None:
        """A step of the decoder found its memory."""
        if self.slots == self._most_slots and self.encoder_batch == self._largest_encoder_batch:
            return
        self._calm += 1
        if self._calm >= self._wanted_calm:
            self._calm = 0
            self.slots = min(2 * self.slots, self._most_slots)
            self.encoder_batch = min(2 * self.encoder_batch, self._largest_encoder_batch)
