"""ffmpeg turns uploads into 16 kHz samples, off the request's thread and before any device is involved.

That gives the true length, proves that there is sound, and makes the file that a device's worker reads.

Some threads take only recordings that may be done soon, and give up those that are not; others take the long ones. So
a clip never waits until somebody's long recordings are done.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial

from errors import CANNOT_STORE, ShuttingDownError, SourceMissingError, TranscriptionServerError
from optimizer.common.clock import Clock
from optimizer.intake.decode_line import DecodeLine, DecodeRequest, WaitingDecode
from optimizer.queue.ordering import OwnerShares
from optimizer.storage.task_files import TaskFiles
from whisper_core.audio.decode import AudioDecoder, DecodedAudio, SlowDecodeError

log = logging.getLogger(__name__)

QUICK_THREADS = 2
LONG_THREADS = max(1, min(4, (os.cpu_count() or 1) // 4))


class DecodePool:
    """The threads that decode; they begin with the first decode. Any thread may use it, until `stop`."""

    def __init__(self, make_decoder: Callable[[], AudioDecoder], files: TaskFiles, clock: Clock) -> None:
        self._make_decoder = make_decoder
        self._files = files
        self._clock = clock
        self._decoder: AudioDecoder | None = None
        self._measures: Mapping[str, str] = {}
        self._is_stopped = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._shares = OwnerShares()
        self._quick, self._long = DecodeLine(self._shares), DecodeLine(self._shares)
        self._threads: list[threading.Thread] = []

    def start_decode(self, request: DecodeRequest) -> Future[DecodedAudio]:
        """Decodes the task's upload into its samples file, in the background.

        The future's exception is a TranscriptionServerError for what is wrong with the file or with ffmpeg, what
        `may_keep` raised, an OSError when the system refuses something, or ShuttingDownError after `stop`. Raises
        ShuttingDownError after `stop`.
        """
        decode = WaitingDecode.of(request, self._clock.monotonic())
        with self._lock:
            if self._is_stopped:
                raise ShuttingDownError()
            self._start_threads()
            self._enqueue(decode)
        return decode.future

    def num_waiting(self) -> int:
        """How many wait for one of the threads that take only what may be done soon."""
        with self._lock:
            return len(self._quick)

    def problem(self) -> str | None:
        """Why nothing can be decoded at the moment, or None."""
        try:
            self._find_decoder()
        except TranscriptionServerError as error:
            return error.message
        return None

    def measures(self) -> Mapping[str, str]:
        """What ffmpeg is locked in by on this system; empty until it was found."""
        return self._measures

    def stop(self) -> None:
        """Ends running decodes; they are repeated after the next start."""
        with self._lock:
            self._is_stopped, decoder = True, self._decoder
            waiting = [*self._quick.clear(), *self._long.clear()]
            self._changed.notify_all()
        if decoder is not None:
            decoder.stop()
        for decode in waiting:
            decode.future.set_exception(ShuttingDownError())
        for thread in self._threads:
            thread.join()

    def _start_threads(self) -> None:
        if self._threads:
            return
        kinds = [("quick", False)] * QUICK_THREADS + [("long", True)] * LONG_THREADS
        self._threads = [
            threading.Thread(target=self._work, args=(takes_long,), name=f"decode-{kind}-{number}")
            for number, (kind, takes_long) in enumerate(kinds)
        ]
        for thread in self._threads:
            thread.start()

    def _enqueue(self, decode: WaitingDecode) -> None:
        (self._long if decode.is_long else self._quick).push(decode)
        self._changed.notify_all()

    def _work(self, takes_long: bool) -> None:
        while (decode := self._next(takes_long)) is not None:
            self._run(decode)

    def _next(self, takes_long: bool) -> WaitingDecode | None:
        """The thread's next decode; None once the pool is stopped."""
        with self._changed:
            while not self._is_stopped:
                now = self._clock.monotonic()
                decode = (self._long.pop(now) if takes_long else None) or self._quick.pop(now)
                if decode is not None:
                    return decode
                self._changed.wait()
        return None

    def _run(self, decode: WaitingDecode) -> None:
        began = self._clock.monotonic()
        try:
            outcome = partial(decode.future.set_result, self._decode(decode))
        except SlowDecodeError:
            outcome = partial(self._try_again, decode.given_up())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is used
            outcome = partial(decode.future.set_exception, error)
        with self._lock:
            now = self._clock.monotonic()
            self._shares.charge(decode.request.owner, now - began, now)
        outcome()

    def _try_again(self, decode: WaitingDecode) -> None:
        """From its beginning, for longer."""
        with self._lock:
            if not self._is_stopped:
                self._enqueue(decode)
                return
        decode.future.set_exception(ShuttingDownError())

    def _find_decoder(self) -> AudioDecoder:
        """Looks for ffmpeg at every call until it is found, so installing it needs no restart. Raises
        FfmpegMissingError."""
        if self._decoder is not None:
            return self._decoder
        made = self._make_decoder()
        self._tell_measures(made)
        with self._lock:  # two threads that look at once must both use the decoder that `stop` knows
            self._decoder = self._decoder or made
            if self._is_stopped:
                self._decoder.stop()
            return self._decoder

    def _tell_measures(self, decoder: AudioDecoder) -> None:
        """What keeps ffmpeg from doing harm on this system."""
        try:
            self._measures = decoder.measures()
        except (OSError, subprocess.SubprocessError):
            log.exception("event=decoder_sandbox_unknown")
            return
        log.info("event=decoder_sandbox %s", " ".join(f"{name}={value}" for name, value in self._measures.items()))

    def _decode(self, decode: WaitingDecode) -> DecodedAudio:
        request = decode.request
        source = self._files.media_path(request.task_id)
        if not source.is_file():
            raise SourceMissingError()
        decoded = self._find_decoder().decode(
            source,
            self._files.audio_path(request.task_id),
            track=request.track,
            may_keep=request.may_keep,
            give_up_after_s=decode.slice_s,
        )
        self._keep_waveform(request.task_id, decoded)
        log.info(
            "task=%s event=%s audio_seconds=%.2f truncated=%s",
            request.task_id, "prepared" if decoded.is_kept else "measured", decoded.seconds, decoded.is_truncated,
        )  # fmt: skip
        return decoded

    def _keep_waveform(self, task_id: str, decoded: DecodedAudio) -> None:
        """It is only for looking at, so nothing fails for want of it."""
        if decoded.waveform is None:
            return
        try:
            self._files.write_waveform(task_id, decoded.waveform)
        except (OSError, *CANNOT_STORE) as error:
            log.warning("task=%s event=waveform_not_kept reason=%s", task_id, type(error).__name__)
