"""transcribe_audio(): one recording from samples to transcript, by openai-whisper's sequential algorithm.

The algorithm is a generator, `transcription_steps`: it yields the requests that it has for the model
(model_requests.py), is sent the answers, and yields a `WindowResult` after every window. So its caller decides how the
model runs: one request at a time, as in `transcribe_audio`, or the requests of many recordings together. The generator
itself uses no model, and a recording's whole state between two windows is its segments and a `Checkpoint`.

With upstream's answers the transcript is exactly upstream's: the same text, segments, tokens and floats
(tests/whisper_core/test_transcribe.py), with every option. Source: openai-whisper 20250625, transcribe.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Union

from errors import BadRecordError, EngineError
from whisper_core.audio.log_mel import LogMel, Mel
from whisper_core.audio.vad import first_speech
from whisper_core.clips import Clips
from whisper_core.common.units import FRAMES_PER_SECOND, WINDOW_FRAMES
from whisper_core.hallucinations import AlignedWindow, Screened, end_of, screen
from whisper_core.model_requests import (
    Align,
    Decode,
    Decoded,
    DecodeSettings,
    DetectLanguage,
    Encode,
    ModelTraits,
    Request,
    Tokenizer,
    settings_of,
)
from whisper_core.prompts import Prompts
from whisper_core.text.languages import LANGUAGES
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Checkpoint, Segment, Transcript, WindowResult
from whisper_core.window_rules import (
    Cut,
    Span,
    cleared_when_empty,
    cut_tokens,
    is_silence,
    needs_fallback,
    seconds_of,
)

Steps = Generator[Union[Request, WindowResult], Any, Transcript]

HOT_TEMPERATURE = 0.5  # text that was sampled above it does not prompt the next window

# With word timestamps a window can end where it began, when its last word's end is rounded down. openai-whisper may
# then repeat it for ever. Here the window is skipped once it has produced this many segments.
MAX_SEGMENTS_WITHOUT_PROGRESS = 500


@dataclass(frozen=True)
class ResumePoint:
    """Where an interrupted transcription continues."""

    checkpoint: Checkpoint  # of the last window
    segments: tuple[Segment, ...] = ()  # all segments so far
    first_window: int = 0  # the index that the next window gets

    @classmethod
    def of(cls, checkpoint: Checkpoint | None, segments: tuple[Segment, ...], first_window: int) -> ResumePoint | None:
        """None when there is no checkpoint."""
        return None if checkpoint is None else cls(checkpoint, segments, first_window)

    def check(self, content_frames: int) -> None:
        """Raises BadRecordError when this belongs to a recording of another length, in mel frames."""
        if self.checkpoint.content_frames != content_frames:
            raise BadRecordError("The saved part of this transcript belongs to another recording.")


def transcribe_audio(
    mel: LogMel,
    model: ModelTraits,
    options: TranscribeOptions,
    serve: Callable[[Request], Any],
    *,
    settings: DecodeSettings | None = None,
    resume: ResumePoint | None = None,
    on_window: Callable[[WindowResult], None] = lambda window: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Transcript | None:
    """The transcript of one recording, or None when `should_stop` returned True between two windows.

    mel: the recording's features. model: what there is to know about the model. serve: answers one request; called in
    this thread. on_window: called after every window, in this thread. resume: where to continue, made of the window
    results of an earlier call; the transcript is then the one that an uninterrupted call would have returned.
    settings: for tests, in place of those that the options name.
    Raises whatever `serve` raises, EngineError when the model lacks the language, and BadRecordError when `resume`
    belongs to another recording.
    """
    steps = transcription_steps(mel, model, options, settings=settings, resume=resume)
    return serve_steps(steps, serve, on_window=on_window, should_stop=should_stop)


def serve_steps(
    steps: Steps,
    serve: Callable[[Request], Any],
    *,
    on_window: Callable[[WindowResult], None],
    should_stop: Callable[[], bool],
) -> Transcript | None:
    """What `steps` come to; see transcribe_audio."""
    with closing(steps):
        while not should_stop():
            try:
                on_window(_advance_to_window(steps, serve))
            except StopIteration as end:
                transcript: Transcript = end.value
                return transcript
    return None


def _advance_to_window(steps: Steps, serve: Callable[[Request], Any]) -> WindowResult:
    step = next(steps)
    while not isinstance(step, WindowResult):
        step = steps.send(serve(step))
    return step


def transcription_steps(
    mel: LogMel,
    model: ModelTraits,
    options: TranscribeOptions,
    *,
    settings: DecodeSettings | None = None,
    resume: ResumePoint | None = None,
) -> Steps:
    """The algorithm. Yields requests (send the answer) and window results (send None); returns the transcript.

    Nothing runs before the first `next`. The generator may be closed after any step. Arguments and errors are those of
    `transcribe_audio`.
    """
    if resume is None:
        language = yield from _find_language(mel, model, options)
    else:
        resume.check(mel.content_frames)
        language = resume.checkpoint.language
    check_language(language, model)
    transcription = _Transcription(mel, model, options, settings or settings_of(options), language)
    if resume is not None:
        transcription.resume(resume)
    while not transcription.is_complete:
        yield (yield from transcription.next_window())
    return transcription.transcript()


def _find_language(
    mel: LogMel, model: ModelTraits, options: TranscribeOptions
) -> Generator[Request | WindowResult, Any, str]:
    if options.language is not None:
        return options.language
    if not model.is_multilingual:
        return "en"
    first = first_speech(mel.samples) if options.detect_language == "first_speech" else 0
    features = yield Encode(mel.window(first, WINDOW_FRAMES))
    language: str = yield DetectLanguage(features)
    return language


def check_language(language: str, model: ModelTraits) -> None:
    """Raises EngineError when the model lacks it."""
    if model.is_multilingual and language not in tuple(LANGUAGES)[: model.num_languages]:
        raise EngineError(f"This model does not know the language {language}.")


@dataclass
class _Transcription:
    """A recording's state between two windows, and the steps through one window."""

    mel: LogMel
    model: ModelTraits
    options: TranscribeOptions
    settings: DecodeSettings
    language: str
    seek: int = 0  # the next window's first mel frame
    window_index: int = 0  # of the next window
    segments: list[Segment] = field(default_factory=list)
    prompt_reset_since: int = 0  # index into `tokens`; those before it prompt no window any more
    last_speech_timestamp: float = 0.0  # the end of the last word, in seconds; with word timestamps only

    def __post_init__(self) -> None:
        self.tokenizer: Tokenizer = self.model.tokenizer(self.language, self.options.task)
        self.prompts = Prompts.of(self.options, self.tokenizer, self.model.n_text_ctx // 2 - 1)
        self.tokens = list(self.prompts.initial)  # of the initial prompt and of all segments so far
        self.clips = Clips.of(self.options.clip_timestamps, self.mel.content_frames)
        self._go_to(self.clips.following(0))

    def resume(self, point: ResumePoint) -> None:
        self.seek = point.checkpoint.seek
        self.prompt_reset_since = point.checkpoint.prompt_reset_since
        self.last_speech_timestamp = point.checkpoint.last_speech_timestamp
        self.window_index = point.first_window
        self._append(point.segments)

    @property
    def is_complete(self) -> bool:
        return self.clips.following(self.seek) is None

    def transcript(self) -> Transcript:
        text = self.tokenizer.decode(self.tokens[len(self.prompts.initial) :])
        return Transcript(text, self.language, tuple(self.segments), self.model.precision)

    def next_window(self) -> Generator[Request | WindowResult, Any, WindowResult]:
        """The steps through the window at `seek`. Moves `seek` to the next one."""
        size = min(WINDOW_FRAMES, self.clips.end_of(self.seek) - self.seek)
        mel = self.mel.window(self.seek, size)
        decoded = yield from self._decode_with_fallback((yield Encode(mel)))
        if is_silence(decoded, self.settings):
            return self._finish((), self.seek + size)
        cut = cut_tokens(decoded.tokens, self.tokenizer.timestamp_begin, size, WINDOW_FRAMES // self.model.n_audio_ctx)
        segments = tuple(self._segment(number, span, decoded) for number, span in enumerate(cut.spans))
        seek = self.seek + cut.advance
        if self.options.word_timestamps:
            segments = yield self._align(mel, size, segments)
            seek = self._seek_after_words(segments, seek, cut)
            screened = self._screened(segments, seek, size, cut)
            if screened.segments is None:
                return self._finish((), screened.seek)
            segments, seek = screened.segments, screened.seek
            last_end = end_of(segments)
            self.last_speech_timestamp = self.last_speech_timestamp if last_end is None else last_end
        segments = tuple(cleared_when_empty(segment) for segment in segments)
        self._append(segments)
        if not self.settings.condition_on_previous_text or decoded.temperature > HOT_TEMPERATURE:
            self.prompt_reset_since = len(self.tokens)
        return self._finish(segments, self.seek + size if self._is_stuck_at(seek) else seek)

    def _decode_with_fallback(self, features: Any) -> Generator[Request | WindowResult, Any, Decoded]:
        """Decode at one temperature after the other until the result is plausible; the last is taken as it is."""
        chosen = self.options.temperature
        prompt = self.prompts.prompt(self.tokens, self.prompt_reset_since)
        for temperature in self.settings.temperatures if chosen is None else (chosen,):
            decoded: Decoded = yield Decode(
                features, prompt, self.language, self.options.task, temperature, self.seek, self.settings
            )
            if not needs_fallback(decoded, self.settings):
                break
        return decoded

    def _segment(self, number: int, span: Span, decoded: Decoded) -> Segment:
        offset = seconds_of(self.seek)
        return Segment(
            id=len(self.segments) + number,
            seek=self.seek,
            start=offset + span.start,
            end=offset + span.end,
            text=self.tokenizer.decode([token for token in span.tokens if token < self.tokenizer.eot]),
            tokens=span.tokens,
            temperature=decoded.temperature,
            avg_logprob=decoded.avg_logprob,
            compression_ratio=decoded.compression_ratio,
            no_speech_prob=decoded.no_speech_prob,
        )

    def _align(self, mel: Mel, size: int, segments: tuple[Segment, ...]) -> Align:
        return Align(mel, size, segments, self.language, self.options.task, self.last_speech_timestamp)

    def _seek_after_words(self, segments: tuple[Segment, ...], seek: int, cut: Cut) -> int:
        """The mel frame where the last word ends, or `seek` when the window ends in silence.

        seek: the start of the next window by the timestamp tokens.
        """
        last_end = end_of(segments)
        if not cut.ends_in_silence and last_end is not None and last_end > seconds_of(self.seek):
            return round(last_end * FRAMES_PER_SECOND)
        return seek

    def _screened(self, segments: tuple[Segment, ...], seek: int, size: int, cut: Cut) -> Screened:
        """What is left of the segments, and where the next window begins: all, and `seek`, without the option."""
        threshold = self.options.hallucination_silence_threshold
        if threshold is None:
            return Screened(segments, seek)
        start, recording_frames = seconds_of(self.seek), self.mel.content_frames
        window = AlignedWindow(
            seek=self.seek,
            size=size,
            start=start,
            end=seconds_of(self.seek + WINDOW_FRAMES),
            content_end=start + seconds_of(size),
            last_speech=self.last_speech_timestamp,
            recording_frames=recording_frames,
            recording_end=seconds_of(recording_frames),
        )
        return screen(segments, seek, window, threshold, ends_in_silence=cut.ends_in_silence)

    def _append(self, segments: tuple[Segment, ...]) -> None:
        self.segments.extend(segments)
        for segment in segments:
            self.tokens.extend(segment.tokens)

    def _is_stuck_at(self, seek: int) -> bool:
        """Whether the window would be repeated from `seek` although it has been repeated often enough."""
        if seek > self.seek:
            return False
        here = takewhile(lambda segment: segment.seek == self.seek, reversed(self.segments))
        return sum(1 for _ in here) >= MAX_SEGMENTS_WITHOUT_PROGRESS

    def _go_to(self, seek: int | None) -> None:
        """None: there is nothing left to transcribe."""
        self.seek = self.mel.content_frames if seek is None else seek

    def _finish(self, segments: tuple[Segment, ...], seek: int) -> WindowResult:
        """seek: where the next window would begin without clips."""
        self._go_to(self.clips.after_window(self.seek, seek))
        self.window_index += 1
        content_frames = self.mel.content_frames
        decoded, wanted = self.clips.frames_before(self.seek), self.clips.frames_before(content_frames)
        checkpoint = Checkpoint(
            language=self.language,
            seek=self.seek,
            content_frames=content_frames,
            prompt_reset_since=self.prompt_reset_since,
            last_speech_timestamp=self.last_speech_timestamp,
            skipped_frames=self.seek - decoded,
            frames_left=None if wanted == content_frames else wanted - decoded,
        )
        return WindowResult(index=self.window_index - 1, segments=segments, checkpoint=checkpoint)
