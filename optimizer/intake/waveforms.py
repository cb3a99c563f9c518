"""The waveforms of recordings: made when these are decoded, and afterwards for those that have none."""

from __future__ import annotations

from errors import ConflictError, MediaRemovedError, WaveformNotReadyError
from optimizer.intake.preparer import Preparer
from optimizer.queue.queue_manager import IntelligentQueueManager
from optimizer.storage.task_files import TaskFiles
from whisper_core.audio.waveform import Waveform


class Waveforms:
    """Any thread."""

    def __init__(self, queue: IntelligentQueueManager, files: TaskFiles, preparer: Preparer) -> None:
        self._queue = queue
        self._files = files
        self._preparer = preparer

    def of(self, task_id: str) -> Waveform:
        """Never waits. Raises TaskNotFoundError; WaveformNotReadyError while the recording is being read; and when it
        cannot be read, FileMissingError, MediaRemovedError or ConflictError."""
        task = self._queue.get(task_id)
        waveform = self._files.read_waveform(task_id)
        if waveform is not None:
            return waveform
        if task.media_removed_at is not None:
            raise MediaRemovedError()
        self._files.find_media(task_id)
        if task.status.is_final:
            if task.audio_seconds is None:
                raise ConflictError("The recording could not be read, so it has no waveform.")
            self._preparer.measure_again(task)
        raise WaveformNotReadyError()
