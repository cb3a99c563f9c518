"""What a decision looks at besides the waiting tasks: devices, models, estimates of memory and time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol, overload

from optimizer.common.kinds import AUTO_DEVICE, DeviceKind
from optimizer.tasks.task import Priority


class Estimates(Protocol):
    """What a decision needs of MemoryEstimationPool. Bytes never shrink as audio_seconds grow."""

    def weights_bytes(self, model: str, kind: DeviceKind, slots: int = 1) -> int:
        """What a resident model takes. slots: that it holds, if it holds any; see `held_bytes`."""

    def held_bytes(self, model: str, kind: DeviceKind, slots: int) -> int:
        """The part of it that depends on the slots; 0 where a model holds none. Grows with the slots."""

    def task_bytes(
        self, model: str, kind: DeviceKind, audio_seconds: float, word_timestamps: bool = False, beams: int = 0
    ) -> int: ...

    def speakers_bytes(self, kind: DeviceKind, audio_seconds: float) -> int:
        """What telling the speakers of a recording apart takes besides."""


class Times(Protocol):
    """What a decision needs of RuntimeEstimates."""

    def work_seconds(self, model: str, audio_seconds: float) -> float: ...

    def load_seconds(self, model: str) -> float: ...


@dataclass(frozen=True, kw_only=True)
class RunningView:
    """A task that runs on a device."""

    id: str
    model: str
    priority: Priority
    audio_left_seconds: float
    due: float  # when the work that is left after its window would be due if the task were waiting
    owner: str = ""
    penalty: float = 0.0  # seconds by which the task would then be set back; see `WaitingGroup`
    task_bytes: int  # reserved for it
    may_be_preempted: bool  # it finished a window in this attempt, so its work would not be lost
    is_ending: bool = False  # it has been told to end


class RunningBrief(NamedTuple):
    """What is known of a running task without working anything out; as in RunningView."""

    model: str
    audio_left_seconds: float
    is_ending: bool


class LateViews(Sequence[RunningView]):
    """What runs on a device, worked out when somebody looks at it. Most decisions look at no device's tasks, and with a
    thousand devices, making all of these views takes longer than deciding.

    The views are for one decision and its thread. The brief may be asked for at any time, and shows the moment at which
    it first was.
    """

    def __init__(
        self, count: int, brief: Callable[[], Sequence[RunningBrief]], views: Callable[[], Sequence[RunningView]]
    ) -> None:
        """count: of the tasks. brief, views: make one for each of them, in the same order."""
        self._count = count
        self._make_brief = brief
        self._make = views
        self._made: Sequence[RunningView] | None = None

    @cached_property
    def brief(self) -> Sequence[RunningBrief]:
        return self._make_brief()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> RunningView: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[RunningView]: ...

    def __getitem__(self, place: int | slice) -> RunningView | Sequence[RunningView]:
        if self._made is None:
            self._made = self._make()
        return self._made[place]


@dataclass(frozen=True, kw_only=True)
class DeviceView:
    """One device as it stands when a decision is made."""

    name: str
    kind: DeviceKind
    capacity_bytes: int  # what models and tasks may reserve on the empty device
    free_bytes: int  # what they may reserve now
    slots: int = 1  # tasks that may run on it at once
    rounds: int = 0  # how often it was handed tasks; see `fairness`
    is_ready: bool = True
    accepts_auto: bool = True  # False: only tasks that ask for this device by name
    resident: Mapping[str, int] = field(default_factory=dict)  # reserved bytes of each model loaded or being loaded
    model_slots: Mapping[str, int] = field(default_factory=dict)  # of those of them that hold slots: tasks at once
    fewer_slots: Mapping[str, int] = field(default_factory=dict)  # the most that these models may be loaded with
    lacking: frozenset[str] = frozenset()  # models whose weights it could not get lately
    running: Sequence[RunningView] = ()

    @property
    def running_brief(self) -> Sequence[RunningBrief | RunningView]:
        """What runs here, as far as that is known without making views."""
        return self.running.brief if isinstance(self.running, LateViews) else self.running

    @property
    def running_models(self) -> frozenset[str]:
        """Models in use, which are never evicted."""
        return frozenset(task.model for task in self.running_brief)

    def is_meant(self, device: str) -> bool:
        """Whether tasks that ask for `device`, a name or `auto`, are to run here."""
        return device == self.name or (device == AUTO_DEVICE and self.accepts_auto)

    def accepts(self, device: str, model: str) -> bool:
        """Whether it takes tasks that ask for `device` and need this model."""
        return self.is_meant(device) and model not in self.lacking


@dataclass(frozen=True)
class ModelView:
    """Whether a model's weights are on this machine."""

    is_available: bool
    fetch_fraction: float | None = None  # 0 to 1 while they are being fetched
    failed_message: str | None = None  # why the last attempt to fetch them failed, in public words


def is_available(models: Mapping[str, ModelView], model: str) -> bool:
    view = models.get(model)
    return view is not None and view.is_available
