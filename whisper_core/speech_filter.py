"""openai-whisper's algorithm on what is speech of a recording: the option `vad_filter`.

The rest is cut out before the algorithm hears it, so silence, music and noise cannot be taken for words. What is left
is transcribed as `whisper.transcribe` transcribes a recording that holds nothing else
(tests/whisper_core/test_speech_filter.py), and the times are moved back to where they belong.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch

from whisper_core.audio.log_mel import LogMel, Samples
from whisper_core.audio.vad import WINDOW_SAMPLES, SpeechScan
from whisper_core.chunker import speech_runs
from whisper_core.common.units import HOP_SAMPLES
from whisper_core.model_requests import DecodeSettings, ModelTraits, Request
from whisper_core.speech_parts import SpeechParts, SpeechSamples
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Segment, Transcript, WindowResult
from whisper_core.transcribe import ResumePoint, Steps, serve_steps, transcription_steps

_CPU = torch.device("cpu")
_ALL = 2**62


class FilteredRecording:
    """The features of a recording's speech. Read before they are used, by `prepare` or else by whoever needs them.

    samples: of the whole recording. device: where the features are computed. Only for one thread at a time.
    """

    def __init__(self, samples: Samples, n_mels: int, device: torch.device = _CPU) -> None:
        self._samples = samples
        self._n_mels = n_mels
        self._device = device
        self._scan = SpeechScan(samples)
        self._scanned = 0  # windows of 32 ms
        self._parts: SpeechParts | None = None
        self._mel: LogMel | None = None

    @property
    def frames_left(self) -> int:
        """What `prepare` has still to read, as far as that is known: of the features, once the speech was found."""
        if self._mel is not None:
            return self._mel.frames_left
        return (self._scan.num_windows - self._scanned) * WINDOW_SAMPLES // HOP_SAMPLES

    def prepare(self, frames: int = _ALL) -> bool:
        """Reads so many mel frames more, first for the speech, then for the features' floor. Whether all was read."""
        if self._mel is None:
            return self._find_speech(frames)
        return self._mel.prepare(frames)

    @property
    def parts(self) -> SpeechParts:
        while self._parts is None:
            self._find_speech(_ALL)
        return self._parts

    @property
    def mel(self) -> LogMel:
        """Of the speech alone."""
        if self._mel is None:
            self._mel = LogMel(SpeechSamples(self._samples, self.parts), self._n_mels, self._device)
        return self._mel

    def _find_speech(self, frames: int) -> bool:
        """False, because the features have still to be read, unless there is no speech."""
        windows = min(-(-frames * HOP_SAMPLES // WINDOW_SAMPLES), self._scan.num_windows - self._scanned)
        self._scan.probabilities(self._scanned, windows)  # which remembers them
        self._scanned += windows
        if self._scanned < self._scan.num_windows:
            return False
        runs = speech_runs(self._scan.probabilities(0, self._scanned))
        speech = ((_frame_of(first), _frame_of(after)) for first, after in runs)
        self._parts = SpeechParts.around(speech, len(self._samples) // HOP_SAMPLES)
        return self.mel.content_frames == 0


def filtered_steps(
    recording: FilteredRecording,
    model: ModelTraits,
    options: TranscribeOptions,
    *,
    settings: DecodeSettings | None = None,
    resume: ResumePoint | None = None,
) -> Steps:
    """See transcribe.transcription_steps. Requests are about the speech alone, windows about the whole recording.

    Where nobody speaks there is no window, and no language when none was given.
    """
    parts = recording.parts
    segments: list[Segment] = []
    if resume is not None:
        resume.check(parts.recording_frames)
        segments.extend(resume.segments)
        resume = _among_speech(resume, parts)
    if not parts.ranges:
        return Transcript("", options.language or ("" if model.is_multilingual else "en"), (), model.precision)
    clips = parts.places_of_clips(options.clip_timestamps)
    # What the language is detected from begins with speech already.
    options = replace(options, clip_timestamps=clips, detect_language="start")
    answer: Any = None
    with closing(transcription_steps(recording.mel, model, options, settings=settings, resume=resume)) as steps:
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                transcript: Transcript = end.value
                return replace(transcript, segments=tuple(segments))
            if isinstance(step, WindowResult):
                step = parts.moved_window(step)
                segments.extend(step.segments)
            answer = yield step


def transcribe_filtered(
    samples: Samples,
    model: ModelTraits,
    options: TranscribeOptions,
    serve: Callable[[Request], Any],
    *,
    settings: DecodeSettings | None = None,
    resume: ResumePoint | None = None,
    on_window: Callable[[WindowResult], None] = lambda window: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Transcript | None:
    """transcribe.transcribe_audio on what is speech."""
    recording = FilteredRecording(samples, model.n_mels)
    steps = filtered_steps(recording, model, options, settings=settings, resume=resume)
    return serve_steps(steps, serve, on_window=on_window, should_stop=should_stop)


def _among_speech(point: ResumePoint, parts: SpeechParts) -> ResumePoint:
    """The saved point, with its places among the speech. The segments keep their times, which are not used again."""
    checkpoint = replace(point.checkpoint, seek=parts.place_of(point.checkpoint.seek), content_frames=parts.num_places)
    segments = tuple(replace(segment, seek=parts.place_of(segment.seek)) for segment in point.segments)
    return replace(point, checkpoint=checkpoint, segments=segments)


def _frame_of(window: int) -> int:
    return window * WINDOW_SAMPLES // HOP_SAMPLES
