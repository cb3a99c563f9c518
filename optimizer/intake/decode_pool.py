"""ffmpeg turns uploads into 16 kHz samples, off the request's thread and before any device is involved.

That gives the true length, proves that there is sound, and makes the file that a device's worker maps into memory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from errors import ShuttingDownError, SourceMissingError, TranscriptionServerError
from optimizer.storage.task_files import TaskFiles
from whisper_core.audio.decode import AudioDecoder, DecodedAudio

log = logging.getLogger(__name__)

DECODE_THREADS = 2


class DecodePool:
    """Two threads that decode. Any thread may use it, until `stop`."""

    def __init__(self, make_decoder: Callable[[], AudioDecoder], files: TaskFiles) -> None:
        self._make_decoder = make_decoder
        self._files = files
        self._decoder: AudioDecoder | None = None
        self._is_stopped = False
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode")

    def start_decode(self, task_id: str) -> Future[DecodedAudio]:
        """Decodes the task's upload into its samples file, in the background.

        The future's exception is a TranscriptionServerError for what is wrong with the file or with ffmpeg, an OSError
        when the system refuses something, or CancelledError after `stop`. Raises ShuttingDownError after `stop`.
        """
        try:
            return self._pool.submit(self._decode, task_id)
        except RuntimeError as error:  # what a pool raises after its shutdown
            raise ShuttingDownError() from error

    def problem(self) -> str | None:
        """Why nothing can be decoded at the moment, or None."""
        try:
            self._find_decoder()
        except TranscriptionServerError as error:
            return error.message
        return None

    def stop(self) -> None:
        """Ends running decodes; they are repeated after the next start."""
        with self._lock:
            self._is_stopped, decoder = True, self._decoder
        if decoder is not None:
            decoder.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _find_decoder(self) -> AudioDecoder:
        """Looks for ffmpeg at every call until it is found, so installing it needs no restart. Raises
        FfmpegMissingError."""
        if self._decoder is not None:
            return self._decoder
        made = self._make_decoder()
        with self._lock:  # two threads that look at once must both use the decoder that `stop` knows
            self._decoder = self._decoder or made
            if self._is_stopped:
                self._decoder.stop()
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
