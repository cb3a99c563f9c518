"""Preparing uploads: ffmpeg turns each into 16 kHz samples, off the request's thread and before any device is asked.

That gives the true length, proves that there is sound, and is what a device's worker maps into memory later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from errors import SourceMissingError, TranscriptionServerError
from optimizer.files import TaskFiles
from whisper_core.audio import AudioDecoder, DecodedAudio

log = logging.getLogger(__name__)

INGEST_THREADS = 2


class Ingest:
    """Two threads that decode. start and stop once; submit from any thread in between."""

    def __init__(self, make_decoder: Callable[[], AudioDecoder], files: TaskFiles) -> None:
        self._make_decoder = make_decoder
        self._files = files
        self._decoder: AudioDecoder | None = None
        self._pool = ThreadPoolExecutor(INGEST_THREADS, thread_name_prefix="ingest")

    def submit(self, task_id: str) -> Future[DecodedAudio]:
        """Decode the task's uploaded file into its samples.

        The future's exception is a TranscriptionServerError: what is wrong with the file, or FfmpegMissingError.
        """
        return self._pool.submit(self._decode, task_id)

    def problem(self) -> str | None:
        """Why nothing can be decoded at the moment, or None."""
        try:
            self._find_decoder()
        except TranscriptionServerError as error:
            return error.message
        return None

    def stop(self) -> None:
        """End running decodes; they are done again after the next start."""
        if self._decoder is not None:
            self._decoder.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _find_decoder(self) -> AudioDecoder:
        """Looked for again until found: whoever installs ffmpeg need not restart the server."""
        if self._decoder is None:
            self._decoder = self._make_decoder()
        return self._decoder

    def _decode(self, task_id: str) -> DecodedAudio:
        source = self._files.media_path(task_id)
        if not source.is_file():
            raise SourceMissingError()
        decoded = self._find_decoder().decode(source, self._files.audio_path(task_id))
        log.info(
            "task=%s event=prepared audio_seconds=%.2f truncated=%s", task_id, decoded.seconds, decoded.is_truncated
        )
        return decoded
