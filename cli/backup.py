"""`python main.py backup FILE` beside a running server, and `python main.py restore FILE` into an empty data folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from config import Settings
from errors import BackupError
from optimizer.storage.backup import BackupReport, restore_backup, write_backup
from optimizer.storage.read_only import reading, sqlite_file
from optimizer.storage.task_files import TaskFiles
from version import __version__

_FILE = click.Path(dir_okay=False, path_type=Path)


def backup_command(load: Callable[[], Settings]) -> click.Command:
    def backup(file: Path, without_media: bool) -> None:
        settings = load()
        database = _database(settings)
        with reading(settings.data_dir, settings.database_url.get_secret_value()):
            pass  # it is there, and of this version
        files = TaskFiles(settings.data_dir)
        report = write_backup(files, database, file, with_media=not without_media, version=__version__)
        click.echo(f"Wrote {file}: {_told(report)}.")

    return click.Command(
        "backup",
        callback=backup,
        params=[
            click.Argument(["file"], type=_FILE),
            click.Option(["--without-media"], is_flag=True, help="Leave the recordings out."),
        ],
        help="Write tasks, transcripts and recordings into one tar file, also while the server runs.",
    )


def restore_command(load: Callable[[], Settings]) -> click.Command:
    def restore(file: Path) -> None:
        settings = load()
        database = _database(settings)
        files = TaskFiles(settings.data_dir)
        files.acquire_lock()
        try:
            report = restore_backup(files, database, file)
        finally:
            files.release_lock()
        click.echo(f"Restored {_told(report)}.")

    return click.Command(
        "restore",
        callback=restore,
        params=[click.Argument(["file"], type=_FILE)],
        help="Put a backup into an empty data folder.",
    )


def _database(settings: Settings) -> Path:
    database = sqlite_file(settings.data_dir, settings.database_url.get_secret_value())
    if database is None:
        raise BackupError(
            "The database is PostgreSQL's: back it up with pg_dump, and after that the folders media and transcripts "
            "of DATA_DIR. docs/deploy.md says how, and how they come back."
        )
    return database


def _told(report: BackupReport) -> str:
    recordings = f"{report.recordings} recordings" if report.has_media else "no recordings"
    return f"{report.tasks} tasks, {report.transcripts} transcripts, {recordings}"
