"""Cases of a parametrised test that show again what its others show: too dear for `make test`."""

from __future__ import annotations

import pytest
from _pytest.mark.structures import ParameterSet


def slow(*values: object) -> ParameterSet:
    """One such case, which `make test-full` runs."""
    return pytest.param(*values, marks=pytest.mark.slow)
