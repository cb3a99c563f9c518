"""The samples of a week in the database."""

from __future__ import annotations

import json
import logging
from typing import Any

from sqlalchemy import delete, insert, select

from optimizer.common.clock import Clock
from optimizer.monitoring.samples import HOUR_S, Sample, bucketed, thinned
from optimizer.storage.database import Database
from optimizer.storage.mapping import Row
from optimizer.storage.schema import samples

log = logging.getLogger(__name__)

THIN_EVERY_S = 600.0
MAX_POINTS = 1500  # of one answer


class SampleStore:
    """`add` from one thread; `read` from any."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._thinned_at: float | None = None

    def add(self, sample: Sample) -> None:
        """Stores it and, now and then, thins out older ones.

        Raises StoreBusyError, DiskFullError, DatabaseDamagedError.
        """
        with self._database.writing() as connection:
            # The wall clock may have been set back to a moment that already has a sample.
            connection.execute(delete(samples).where(samples.c.at == sample.at))
            connection.execute(insert(samples).values(_row(sample)))
        now = self._clock.monotonic()
        if self._thinned_at is None or now - self._thinned_at >= THIN_EVERY_S:
            self._thinned_at = now
            self._thin(sample.at)

    def read(self, hours: float) -> list[Sample]:
        """The samples of that many last hours, oldest first, MAX_POINTS at most.

        Raises StoreBusyError, DatabaseDamagedError.
        """
        now = self._clock.now().timestamp()
        found = self._between(now - hours * HOUR_S, None)
        return found if len(found) <= MAX_POINTS else bucketed(found, hours * HOUR_S / (MAX_POINTS - 1))

    def _thin(self, now: float) -> None:
        old = self._between(None, now - HOUR_S)
        kept = {sample.at: sample for sample in thinned(old, now)}
        gone = [sample.at for sample in old if kept.get(sample.at) != sample]
        changed = [_row(sample) for sample in kept.values() if sample.at in set(gone)]
        if not gone:
            return
        with self._database.writing() as connection:
            for start in range(0, len(gone), 500):
                connection.execute(delete(samples).where(samples.c.at.in_(gone[start : start + 500])))
            if changed:
                connection.execute(insert(samples), changed)

    def _between(self, first: float | None, last: float | None) -> list[Sample]:
        query = select(samples).order_by(samples.c.at)
        if first is not None:
            query = query.where(samples.c.at >= first)
        if last is not None:
            query = query.where(samples.c.at <= last)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [sample for sample in map(_sample, rows) if sample is not None]


def _row(sample: Sample) -> dict[str, Any]:
    document = sample.to_dict()
    at, span_seconds = document.pop("at"), document.pop("span_seconds")
    if not document["extra"]:
        del document["extra"]  # so that an earlier version reads the others' samples
    return {"at": at, "span_seconds": span_seconds, "data": json.dumps(document)}


def _sample(row: Row) -> Sample | None:
    """None for a row that cannot be read: it leaves a gap in a plot, nothing worse."""
    try:
        return Sample.from_dict({"at": row.at, "span_seconds": row.span_seconds, **json.loads(row.data)})
    except (KeyError, TypeError, ValueError, AttributeError):
        log.warning("event=unreadable_sample at=%s", row.at)
        return None
