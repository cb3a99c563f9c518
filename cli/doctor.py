"""`python main.py doctor`: reports what the database and the files disagree on, and puts right what it safely can."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import click

from config import Settings
from optimizer.common.clock import SystemClock
from optimizer.storage.inspection import DataInspection, Finding
from optimizer.storage.read_only import reading, sqlite_file
from optimizer.storage.repair import Repair
from optimizer.storage.store import TaskStore
from optimizer.storage.task_files import TaskFiles

CLEAN, FOUND = 0, 1


def doctor_command(load: Callable[[], Settings]) -> click.Command:
    def doctor(repair: bool, checksums: bool) -> int:
        settings = load()
        return _repair(settings, checksums) if repair else _report(settings, checksums)

    return click.Command(
        "doctor",
        callback=doctor,
        params=[
            click.Option(["--repair"], is_flag=True, help="Put right what can be; not while a server runs."),
            click.Option(["--checksums"], is_flag=True, help="Also read every recording, not only its size."),
        ],
        help="Report what files and database disagree on. The exit code is 1 when there is something.",
    )


def _report(settings: Settings, checksums: bool) -> int:
    files = TaskFiles(settings.data_dir)
    is_served = files.is_locked()
    findings = _findings(settings, files, is_served, checksums)
    if is_served and findings:  # what is seen only once was on its way
        again = set(_findings(settings, files, is_served, checksums))
        findings = [finding for finding in findings if finding in again]
    for finding in findings:
        click.echo(str(finding))
    click.echo(f"{len(findings)} found." if findings else "Nothing found.")
    if sqlite_file(settings.data_dir, settings.database_url.get_secret_value()) is None:
        click.echo("Damage in PostgreSQL's own files is looked for by its pg_amcheck.")
    return FOUND if findings else CLEAN


def _repair(settings: Settings, checksums: bool) -> int:
    files = TaskFiles(settings.data_dir)
    files.acquire_lock()
    try:
        with closing(TaskStore(settings.data_dir, settings.database_url.get_secret_value())) as store:
            store.open()
            findings = _findings(settings, files, False, checksums)
            left = 0
            for finding, done in Repair(settings.data_dir, store.database).repair(findings):
                left += done is None
                click.echo(f"{finding}: {done or 'left for you to decide'}")
        click.echo(f"{len(findings) - left} repaired, {left} left." if findings else "Nothing found.")
        return FOUND if left else CLEAN
    finally:
        files.release_lock()


def _findings(settings: Settings, files: TaskFiles, is_served: bool, checksums: bool) -> list[Finding]:
    inspection = DataInspection(files, SystemClock().now(), is_served=is_served, reads_recordings=checksums)
    with reading(settings.data_dir, settings.database_url.get_secret_value()) as connection:
        return inspection.findings(connection)
