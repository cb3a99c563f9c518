"""How long property tests search: the same examples every time in `make test`, new and many more in `make fuzz`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

REPEATABLE, FUZZ = "repeatable", "fuzz"
MAX_EXAMPLES = 100

_factor = 1


def load_profiles() -> None:
    """Called once, by the outermost conftest, before any test module builds settings of its own.

    FUZZ_FACTOR in the environment asks for so many times as many examples, chosen at random.
    """
    global _factor
    factor = os.environ.get("FUZZ_FACTOR")
    settings.register_profile(
        REPEATABLE, max_examples=MAX_EXAMPLES, derandomize=True, database=None, deadline=None, print_blob=True
    )
    if factor is None:
        settings.load_profile(REPEATABLE)
        return
    _factor = int(factor)
    settings.register_profile(FUZZ, max_examples=MAX_EXAMPLES * _factor, deadline=None, print_blob=True)
    settings.load_profile(FUZZ)


def budget(max_examples: int = MAX_EXAMPLES, **more: Any) -> settings:
    """Settings of a property test that tries so many examples in `make test`. more: as `hypothesis.settings` takes."""
    return settings(max_examples=max_examples * _factor, **more)
