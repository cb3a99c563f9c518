"""What the host asks of a GPU, counted on the CPU: launches, copies, waits, captures, and memory that is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

HOST_ONLY = {"aten::lift_fresh", "aten::detach"}  # a tensor made of Python's numbers
TAKING = ("aten::empty", "aten::zeros", "aten::ones", "aten::full", "aten::new_", "aten::clone")


class CountingDevice(TorchDispatchMode):
    """Counts operations by name. Views call nothing, and what a launch does is in its graph.

    As a Launch it replays what was prepared, and counts as a capture what was not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.captures: list[Hashable] = []  # behind the back of `prepare`
        self._prepared: set[Hashable] = set()
        self._is_in_graph = False

    @property
    def taken(self) -> int:
        """Operations that took memory of the device, outside of graphs."""
        return sum(count for name, count in self.calls.items() if name.startswith(TAKING))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        returned = func._schema.returns
        is_view = any(each.alias_info is not None and not each.alias_info.is_write for each in returned)
        if not self._is_in_graph and not is_view and func._schema.name not in HOST_ONLY:
            self.calls[func._schema.name] += 1
        return func(*args, **(kwargs or {}))

    def __call__(self, key: Hashable, work: Callable[[], Any]) -> Any:
        self.calls["replay"] += 1
        if key not in self._prepared:
            self.captures.append(key)
            self._prepared.add(key)
        return self._in_graph(work)

    def prepare(self, key: Hashable, work: Callable[[], Any]) -> None:
        self._prepared.add(key)
        self._in_graph(work)

    def _in_graph(self, work: Callable[[], Any]) -> Any:
        self._is_in_graph = True
        try:
            return work()
        finally:
            self._is_in_graph = False
