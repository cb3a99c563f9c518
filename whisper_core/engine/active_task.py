"""A task while the engine has it: its recording, its strands, and the one word that ends it."""

from __future__ import annotations

from dataclasses import dataclass, field

from whisper_core.audio.sample_file import SampleFile
from whisper_core.engine.decoding.encoded_window import EncodedWindow
from whisper_core.engine.recording import Recording, Strand
from whisper_core.model_requests import Align, Decode, DetectLanguage
from whisper_core.worker.engine_protocol import TaskObserver
from whisper_core.worker.messages import RunTask


@dataclass(eq=False)
class ActiveTask:
    """recording: None while it is being opened. is_leaving: it is to step aside; nothing more of it is begun."""

    command: RunTask
    watch: TaskObserver
    recording: Recording | None = None
    samples: SampleFile | None = None
    strands: list[RunningStrand] = field(default_factory=list)
    is_over: bool = False
    is_leaving: bool = False

    @property
    def is_exact(self) -> bool:
        return not self.command.options.is_chunked

    def next_strand(self) -> RunningStrand | None:
        most = self.command.windows_at_once
        if self.recording is None or (most is not None and len(self.strands) >= most):
            return None
        steps = self.recording.next_strand()
        if steps is None:
            return None
        strand = RunningStrand(self, steps)
        self.strands.append(strand)
        return strand

    def report_windows(self) -> None:
        if self.recording is not None:
            for window in self.recording.finished_windows():
                self.watch.window(window)

    def done(self, peak_bytes: int) -> None:
        if self.recording is None:
            raise RuntimeError("a task cannot be done before its recording was opened")
        transcript = self.recording.transcript()
        self._end()
        self.watch.done(transcript, peak_bytes)

    def stopped(self) -> None:
        self._end()
        self.watch.stopped()

    def failed(self, error: Exception) -> None:
        self._end()
        self.watch.failed(error)

    def note(self, step: str, **data: int) -> None:
        """What was done for want of memory, for the timeline."""
        self.watch.note("memory", {"step": step, **data})

    def close(self) -> None:
        """The samples' file; a task that ends while it is being opened is closed afterwards."""
        if self.samples is not None:
            self.samples.close()

    def _end(self) -> None:
        self.is_over = True
        for strand in self.strands:
            strand.steps.close()
        self.strands.clear()
        self.close()


@dataclass(eq=False)
class RunningStrand:
    """window: what its latest Encode gave. request: what it waits for besides the encoding, if anything.

    has_begun: whether a window of it was ever given to the encoder.
    """

    task: ActiveTask
    steps: Strand
    window: EncodedWindow | None = None
    request: Decode | Align | DetectLanguage | None = None
    has_begun: bool = False

    @property
    def is_over(self) -> bool:
        return self.task.is_over

    @property
    def is_held_back(self) -> bool:
        """Whether no further window of it is encoded, because its task steps aside.

        Chunks are told in order, so one that was begun is finished: what was decoded of those behind it would be lost.
        """
        return self.task.is_leaving and (self.task.is_exact or not self.has_begun)

    def end(self) -> None:
        self.task.strands.remove(self)
