"""Progress on standard error: a bar for each recording that is under way, and one for all; without a terminal, none."""

from __future__ import annotations

import sys

from tqdm import tqdm

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
_NAME_CHARACTERS = 30
_STEPS = 1000  # of a bar


class ProgressBars:
    """One thread. To be used as a context manager, which leaves no bar behind."""

    def __init__(self, num_files: int, *, is_quiet: bool = False) -> None:
        self._num_files = num_files
        self._num_ended = 0
        self._is_shown = sys.stderr.isatty() and not is_quiet
        self._bars: dict[str, tqdm[None]] = {}
        self._all = self._bar(f"{num_files} files", _BAR) if num_files > 1 else None

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in [*self._bars.values(), *([self._all] if self._all is not None else [])]:
            bar.close()

    def show(self, name: str, fraction: float) -> None:
        if name not in self._bars:
            shown = name if len(name) <= _NAME_CHARACTERS else f"…{name[1 - _NAME_CHARACTERS :]}"
            self._bars[name] = self._bar(shown, _BAR)
        self._set(self._bars[name], fraction)

    def show_all(self, fractions_under_way: float) -> None:
        """fractions_under_way: the sum over the recordings that have not ended."""
        if self._all is not None:
            self._set(self._all, (self._num_ended + fractions_under_way) / self._num_files)

    def end(self, name: str) -> None:
        self._num_ended += 1
        if bar := self._bars.pop(name, None):
            bar.close()
        self.show_all(0)

    def say(self, text: str) -> None:
        """A line above the bars."""
        tqdm.write(text, file=sys.stderr)

    def _bar(self, name: str, layout: str) -> tqdm[None]:
        return tqdm(
            total=_STEPS, desc=name, bar_format=layout, leave=False, disable=not self._is_shown, file=sys.stderr,
            dynamic_ncols=True,
        )  # fmt: skip

    @staticmethod
    def _set(bar: tqdm[None], fraction: float) -> None:
        if (step := int(fraction * _STEPS)) > bar.n:
            bar.update(step - bar.n)
