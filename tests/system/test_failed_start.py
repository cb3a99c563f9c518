"""A start that fails late leaves nothing behind: the folder is free, and nothing runs on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from errors import StoreBusyError
from optimizer.automation.wiring import Automation
from optimizer.editing.found_speakers import FoundSpeakers
from optimizer.editing.retranscriptions import Retranscriptions
from optimizer.scheduling.loop import BatchTaskScheduler
from optimizer.storage.search_filler import SearchFiller
from optimizer.storage.task_files import TaskFiles
from optimizer.tasks.task import TaskStatus
from tests.paths import SHORT
from tests.system.conftest import Open, Submit, Watcher


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (BatchTaskScheduler, "start"),
        (Automation, "start"),
        (Retranscriptions, "resume"),
        (SearchFiller, "start"),
        (FoundSpeakers, "resume"),
    ],
)
def test_a_start_that_fails_late_leaves_the_folder_and_the_devices_to_the_next(
    open_system: Open, submit: Submit, make_settings: Callable[..., Any], part: Any, name: str
) -> None:
    threads = set(threading.enumerate())
    begin = getattr(part, name)

    def begin_in_vain(self: Any) -> None:
        begin(self)
        raise StoreBusyError()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(part, name, begin_in_vain)
        with pytest.raises(StoreBusyError), open_system():
            pass
    assert not TaskFiles(make_settings().data_dir).is_locked()
    assert set(threading.enumerate()) <= threads
    with open_system() as system:
        Watcher(system).wait_for(submit(system, SHORT), TaskStatus.COMPLETED)
