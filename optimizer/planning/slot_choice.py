"""How many slots a model gets that holds them as long as it is loaded: many, and room is left for other models."""

from __future__ import annotations

from collections.abc import Callable

SLOT_STEPS = (64, 48, 32, 24, 16, 12, 8, 6, 4, 2, 1)
FEW_SLOTS = 4  # so many may take all the room that there is; what holds more takes half of it at most
ENOUGH_SLOTS = 8  # for fewer, models leave that nobody waits for


def room_for(slots: int, held_bytes: int) -> int:
    """The bytes that have to be free besides the model's weights, for so many slots that hold so much."""
    return held_bytes if slots <= FEW_SLOTS else 2 * held_bytes


def choose_slots(held_bytes: Callable[[int], int], room: int, most: int) -> int:
    """The most slots that find their room, up to `most`; one where there is room for none, which is the caller's fault.

    held_bytes: by so many slots. room: bytes.
    """
    steps = (slots for slots in SLOT_STEPS if slots <= most)
    return next((slots for slots in steps if room_for(slots, held_bytes(slots)) <= room), 1)
