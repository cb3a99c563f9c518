"""What the transcription algorithm asks of a model, and what it is told of one.

transcribe.py yields these; an engine answers them. They carry tensors and stay inside one worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Union

from whisper_core.audio.log_mel import Mel
from whisper_core.text.options import TaskKind
from whisper_core.text.transcript import Segment

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """What openai-whisper lets a caller tune and this server does not offer; the defaults are openai-whisper's.

    beam_size, patience: for temperature 0. best_of: for temperatures above 0. A threshold of None is never crossed.
    """

    temperatures: tuple[float, ...] = TEMPERATURES
    beam_size: int | None = None
    patience: float | None = None
    best_of: int | None = None
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    condition_on_previous_text: bool = True


DEFAULT_SETTINGS = DecodeSettings()


class Tokenizer(Protocol):
    """The part of openai-whisper's tokenizer that the algorithm uses."""

    @property
    def eot(self) -> int: ...
    @property
    def timestamp_begin(self) -> int: ...
    def encode(self, text: str, **kwargs: Any) -> list[int]: ...
    def decode(self, token_ids: list[int], **kwargs: Any) -> str: ...


@dataclass(frozen=True)
class ModelTraits:
    """tokenizer: the model's own, for a language code and what to do with it."""

    is_multilingual: bool
    num_languages: int
    n_audio_ctx: int
    n_text_ctx: int
    n_mels: int
    tokenizer: Callable[[str, TaskKind], Tokenizer]


@dataclass(frozen=True)
class Encode:
    """Run the encoder over one window.

    Answer: the audio features, in whatever form the engine wants them back; needed until the next Encode or window end.
    """

    mel: Mel


@dataclass(frozen=True)
class DetectLanguage:
    """Answer: the code of the most probable language."""

    features: Any


@dataclass(frozen=True)
class Decode:
    """Decode one window at one temperature. Answer: a `Decoded`.

    prompt: previous text, at most n_text_ctx // 2 - 1 tokens. seek: the window's first frame.
    """

    features: Any
    prompt: tuple[int, ...]
    language: str
    task: TaskKind
    temperature: float
    seek: int
    settings: DecodeSettings


@dataclass(frozen=True)
class Decoded:
    """tokens: without the end token. compression_ratio: of the text, bytes by zlib-compressed bytes."""

    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


@dataclass(frozen=True)
class Align:
    """Find the words' times. Answer: the same segments with their words, and with start and end moved to them.

    mel: the window again, because upstream encodes it anew without fused attention. num_frames: its frames of content.
    last_speech_timestamp: seconds; the end of the last word before this window.
    """

    mel: Mel
    num_frames: int
    segments: tuple[Segment, ...]
    language: str
    task: TaskKind
    last_speech_timestamp: float


Request = Union[Encode, DetectLanguage, Decode, Align]
