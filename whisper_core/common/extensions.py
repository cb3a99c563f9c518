"""Finds what other packages add to the server, by entry points; loads it when a setting names it.

Nothing is imported that no setting names. A setting names an installed extension by its entry point, or a function or
class that can be imported as `module:name`; both end as such a path, so that a device's process finds it, too.
"""

from __future__ import annotations

import importlib
import logging
import re
from enum import Enum
from functools import reduce
from importlib.metadata import entry_points
from typing import Any

from errors import InvalidSettingsError

log = logging.getLogger(__name__)

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class Seam(Enum):
    """Where something can be added. `value` is the group of entry points; `setting` names what is used."""

    POLICY = ("whisper_scheduler.policies", "SCHEDULING_POLICY")
    ENGINE = ("whisper_scheduler.engines", "ENGINE")
    METRIC = ("whisper_scheduler.metrics", "EXTRA_METRICS")

    setting: str

    def __new__(cls, group: str, setting: str) -> Seam:
        seam = object.__new__(cls)
        seam._value_ = group
        seam.setting = setting
        return seam


def installed(seam: Seam) -> dict[str, str]:
    """The path of each installed extension, by name. Reads the list of all installed packages, which takes 10 ms."""
    return {each.name: f"{each.module}:{each.attr}" for each in entry_points(group=seam.value)}


def path_of(seam: Seam, name: str) -> str | None:
    """`module:name` of what a setting names; None when nothing is called so."""
    return name if _PATH.fullmatch(name) else installed(seam).get(name)


def load(seam: Seam, name: str) -> Any:
    """What a setting names, imported. Raises InvalidSettingsError, which says what is wrong with it."""
    path = path_of(seam, name)
    if path is None:
        raise refused(seam, name, "nothing of that name is installed")
    module, _, attributes = path.partition(":")
    try:
        return reduce(getattr, attributes.split("."), importlib.import_module(module))
    except (Exception, SystemExit) as error:  # whatever its code does when it is imported
        log.error("event=extension_failed setting=%s name=%s", seam.setting, name, exc_info=error)
        raise refused(seam, name, f"importing {path} raises {in_one_line(error)}") from error


def refused(seam: Seam, name: str, reason: str) -> InvalidSettingsError:
    """reason: why the extension that the setting names cannot be used."""
    return InvalidSettingsError(f"{seam.setting} = {name!r} cannot be used: {reason}.")


def in_one_line(error: BaseException) -> str:
    """The kind of an error, and what it says first."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}".rstrip(" .:") if lines else type(error).__name__
