"""Builds what watches a folder. Nothing is started, opened or read here."""

from __future__ import annotations

import threading
from pathlib import Path

from automation_settings import parse_formats
from config import Settings
from optimizer.common.clock import Clock
from optimizer.storage.database import Database
from optimizer.watching.deliveries import Deliveries, Tasks
from optimizer.watching.originals import Originals
from optimizer.watching.result_writer import ResultWriter
from optimizer.watching.taker import Intake, Taker
from optimizer.watching.tree import Tree
from optimizer.watching.watch_store import WatchStore
from optimizer.watching.watcher import FolderWatcher


def build_watcher(
    settings: Settings, clock: Clock, database: Database, tasks: Tasks, intake: Intake
) -> FolderWatcher | None:
    """None: no folder is to be watched."""
    if settings.watched_folder is None:
        return None
    watched = Tree(settings.watched_folder)
    output = Tree(Path(settings.output_dir)) if settings.output_dir else watched
    store = WatchStore(database)
    stopping = threading.Event()
    deliveries = Deliveries(
        tasks,
        ResultWriter(watched, output, store),
        Originals(watched, settings.watch_when_done),
        store,
        formats=parse_formats(settings.watch_formats),
        keeps_tasks=settings.watch_keep_tasks,
    )
    return FolderWatcher(
        watched,
        clock,
        tasks=tasks,
        store=store,
        taker=Taker(settings, watched, intake, store, stopping),
        deliveries=deliveries,
        stopping=stopping,
        interval_s=settings.watch_interval,
        settled_s=settings.watch_settled,
    )
