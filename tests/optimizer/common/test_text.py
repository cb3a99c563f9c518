"""Sizes and moments as people and programs read them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from optimizer.common.text import in_gigabytes, iso_time


@pytest.mark.parametrize(("nbytes", "text"), [(0, "0.1 GB"), (1_000, "0.1 GB"), (1_500_000_000, "1.5 GB")])
def test_a_shortage_never_reads_as_none(nbytes: int, text: str) -> None:
    assert in_gigabytes(nbytes) == text


def test_a_moment_of_any_time_zone_is_given_in_utc() -> None:
    moment = datetime(2026, 11, 28, 10, 30, 0, 1_500, tzinfo=timezone(timedelta(hours=1)))
    assert iso_time(moment) == "2026-11-28T09:30:00.001Z"
