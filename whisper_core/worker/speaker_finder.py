"""Finds the speakers of a task with the networks of `speakers`, whose weights it fetches first where they are missing.

torch is imported with the first task whose speakers are wanted.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from errors import EngineError, ModelUnavailableError
from whisper_core.audio.sample_file import open_samples
from whisper_core.models.speaker_weights import fetch_speaker_weights, locate_speaker_weights
from whisper_core.text.turns import Turn
from whisper_core.worker.messages import RunTask, TellSpeakers
from whisper_core.worker.speaker_desk import OnProgress

if TYPE_CHECKING:
    from whisper_core.speakers.networks import SpeakerNetworks

FETCHED_AGAIN_AFTER_S = 600.0  # once it has failed, so that not every task waits for a machine without a network


class PipelineFinder:
    """One thread. See speaker_desk.SpeakerFinder."""

    def __init__(self) -> None:
        self._fetch_failed_at = -FETCHED_AGAIN_AFTER_S
        self._failure: ModelUnavailableError | None = None

    def find_speakers(self, command: RunTask, on_progress: OnProgress) -> tuple[Turn, ...]:
        """Raises ModelUnavailableError, WeightsDamagedError, DiskFullError, OutOfMemoryError, SourceMissingError."""
        # Not `guarded` and `free_memory`: to empty a card's cache would break a graph that the engine is capturing.
        from whisper_core.worker.device_errors import as_task_error, trim_heap

        failure: Exception
        try:
            return self._find(command, on_progress)
        except (RuntimeError, MemoryError) as error:
            failure = as_task_error(error)
        finally:
            trim_heap()
        raise failure

    def _find(self, command: RunTask, on_progress: OnProgress) -> tuple[Turn, ...]:
        import torch

        from whisper_core.speakers.pipeline import find_turns

        wanted = command.speakers
        if wanted is None:
            raise EngineError("Nobody asked for the speakers of this task.")
        networks = self._networks(wanted, on_progress)
        torch.set_num_threads(1)  # of this thread: a second one makes it hardly faster, and is the encoder's
        with open_samples(Path(command.audio_path)) as samples:
            return find_turns(samples, networks, num_speakers=wanted.num_speakers, progress=on_progress)

    def _networks(self, wanted: TellSpeakers, on_progress: OnProgress) -> SpeakerNetworks:
        from whisper_core.speakers.networks import load_speaker_networks

        models_dir = Path(wanted.models_dir)
        if locate_speaker_weights(models_dir) is None:
            self._fetch(models_dir, wanted.sources, on_progress)
        return load_speaker_networks(models_dir)

    def _fetch(self, models_dir: Path, sources: str, on_progress: OnProgress) -> None:
        if self._failure is not None and time.monotonic() - self._fetch_failed_at < FETCHED_AGAIN_AFTER_S:
            raise self._failure

        def should_stop() -> bool:
            on_progress(0.0)  # which raises what ends the fetch
            return False

        try:
            fetch_speaker_weights(models_dir, sources=sources, should_stop=should_stop)
        except ModelUnavailableError as error:
            self._failure, self._fetch_failed_at = error, time.monotonic()
            raise
