"""One change of one setting on trial: measured before and after, then kept or taken back."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.monitoring.throughput_history import ALL_SAMPLES, EARLY_SAMPLES, ThroughputSummary
from optimizer.monitoring.tuning import Change, Direction, Point, Setting, Step

GAIN = 0.03  # more than two measurements of the same thing differ by
TOLERANCE = 0.02  # what fewer tasks at a time may lose against the best known; below GAIN, so that nothing swings
CONFIDENCE = 1.8  # standard errors that a result must be clear of before all samples are there


@dataclass
class Trial:
    setting: Setting
    origin: Point  # in force before
    tried: Point
    began: int  # the number of the last sample before
    unusable: int = 0  # samples since that could not be used

    @property
    def direction(self) -> Direction:
        return 1 if self.tried.value(self.setting) > self.origin.value(self.setting) else -1

    @property
    def is_worth_a_draw(self) -> bool:
        """Whether it need not gain throughput: fewer tasks at a time that get as much done end sooner, each of them."""
        return self.setting is Setting.CONCURRENT and self.direction < 0

    def verdict(self, before: ThroughputSummary, best: ThroughputSummary, after: ThroughputSummary) -> bool | None:
        """Whether the change stays; None while that cannot be told. before, after: with the origin and with the change.

        best: the most that is known of the same work. A trial that may end in a draw is held against that, since many
        small losses in a row must not add up.
        """
        reference, wanted = (best, -TOLERANCE) if self.is_worth_a_draw else (before, GAIN)
        gain, error = after.gain_over(reference)
        pays = gain > wanted
        is_clear = abs(gain - wanted) > CONFIDENCE * error
        is_enough = after.count >= (EARLY_SAMPLES if pays else EARLY_SAMPLES - 1)
        return pays if after.count >= ALL_SAMPLES or (is_clear and is_enough) else None

    def begun(self, text: str, before: ThroughputSummary) -> Change:
        return self._change("tried", self.origin, self.tried, text, before, None)

    def kept(self, before: ThroughputSummary, after: ThroughputSummary) -> Change:
        text = f"{self.setting.env_name}={self.tried.value(self.setting)} stays: {effect(before, after)}."
        return self._change("kept", self.origin, self.tried, text, before, after)

    def taken_back(
        self, text: str, before: ThroughputSummary | None = None, after: ThroughputSummary | None = None
    ) -> Change:
        return self._change("taken_back", self.tried, self.origin, text, before, after)

    def _change(
        self,
        step: Step,
        before: Point,
        after: Point,
        text: str,
        measured_before: ThroughputSummary | None,
        measured_after: ThroughputSummary | None,
    ) -> Change:
        return Change(
            self.setting,
            step,
            before.value(self.setting),
            after.value(self.setting),
            text,
            throughput_before=None if measured_before is None else measured_before.throughput,
            throughput_after=None if measured_after is None else measured_after.throughput,
        )


def effect(before: ThroughputSummary, after: ThroughputSummary) -> str:
    gain, _ = after.gain_over(before)
    return (
        f"throughput went from {before.throughput:.1f} to {after.throughput:.1f} seconds of sound per second"
        f" ({gain:+.0%} of work)"
    )
