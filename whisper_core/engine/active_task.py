"""A task while the engine has it, and the streams of requests through which its recording is transcribed."""

from __future__ import annotations

from dataclasses import dataclass, field

from whisper_core.audio.sample_file import SampleFile
from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.recording import Recording, RequestStream
from whisper_core.model_requests import Align, Decode, DetectLanguage
from whisper_core.worker.engine_protocol import TaskObserver
from whisper_core.worker.messages import RunTask


@dataclass(eq=False)
class ActiveTask:
    """Ends by exactly one of `complete`, `stop` and `fail`, which tell the observer; from then on it `is_done`."""

    command: RunTask
    observer: TaskObserver
    recording: Recording | None = None  # None while it is being opened
    samples: SampleFile | None = None
    streams: list[ActiveStream] = field(default_factory=list)
    is_done: bool = False
    is_preempted: bool = False  # whether nothing more of it is started, because it ends as soon as no work is lost

    @property
    def is_exact(self) -> bool:
        return not self.command.options.is_chunked

    @property
    def may_start_stream(self) -> bool:
        """Whether its recording may have another stream, and the task as many as it would then have."""
        most = self.command.windows_at_once
        is_open = self.recording is not None and not self.recording.is_handed_out
        return is_open and not self.is_done and not self.is_preempted and (most is None or len(self.streams) < most)

    @property
    def has_more_streams(self) -> bool:
        """Whether it may start a stream now or later."""
        return not self.is_done and (self.recording is None or not self.recording.is_handed_out)

    def start_stream(self) -> ActiveStream | None:
        """The recording's next stream, or None when there is none now."""
        if self.recording is None:
            return None
        steps = self.recording.next_stream()
        if steps is None:
            return None
        stream = ActiveStream(self, steps)
        self.streams.append(stream)
        return stream

    def finish_stream(self, stream: ActiveStream) -> None:
        """The stream has made its last request. Reports the windows that it finished."""
        self.streams.remove(stream)
        stream.give_up_window()
        self.report_windows()

    def report_windows(self) -> None:
        if self.recording is not None:
            for window in self.recording.finished_windows():
                self.observer.window(window)

    def report_shrunk_batch(self, windows: int, slots: int) -> None:
        """For the task's timeline. windows: in flight when memory ran out. slots: that the model has from now on."""
        self.observer.note("memory", {"step": "batch_shrunk", "windows": windows, "slots": slots})

    def complete(self, peak_bytes: int) -> None:
        if self.recording is None:
            raise RuntimeError("a task cannot be complete before its recording was opened")
        transcript = self.recording.transcript()
        self._end()
        self.observer.done(transcript, peak_bytes)

    def stop(self) -> None:
        self._end()
        self.observer.stopped()

    def fail(self, error: Exception) -> None:
        """Does nothing when the task has ended before."""
        if not self.is_done:
            self._end()
            self.observer.failed(error)

    def close_samples(self) -> None:
        """A task that ends while its recording is being opened gets its samples afterwards; then call this again."""
        if self.samples is not None:
            self.samples.close()

    def _end(self) -> None:
        self.is_done = True
        for stream in self.streams:
            stream.steps.close()
            stream.give_up_window()
        self.streams.clear()
        self.close_samples()


@dataclass(eq=False)
class ActiveStream:
    """One stream of requests that the engine serves."""

    task: ActiveTask
    steps: RequestStream
    window: EncodedWindow | None = None  # the answer to its latest Encode, encoded or not
    request: Decode | Align | DetectLanguage | None = None  # what it waits for besides the encoding of its window
    num_windows: int = 0  # that it has asked to be encoded
    was_started: bool = False  # whether one of its windows was ever given to the encoder

    @property
    def is_done(self) -> bool:
        return self.task.is_done

    @property
    def asks_for_language(self) -> bool:
        """Whether it may, of its first window."""
        return self.task.command.options.language is None and self.num_windows == 1

    def give_up_window(self) -> None:
        """Of a window in a slot that holds it, the slot batch takes care."""
        if self.window is not None and self.window.holder is None:
            self.window.evict()

    @property
    def is_held_back(self) -> bool:
        """Whether no further window of it is encoded, because its task was preempted.

        A chunk that was started is finished: chunks are reported in order, so what was decoded of later ones would be
        lost otherwise.
        """
        return self.task.is_preempted and (self.task.is_exact or not self.was_started)
