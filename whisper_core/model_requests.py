"""The requests that the transcription algorithm makes of a model, and what it has to know about one.

transcribe.py yields the requests; an engine answers them. They carry tensors and stay inside one worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Union

from whisper_core.audio.log_mel import Mel
from whisper_core.text.options import ALL_SYMBOLS, TaskKind, TranscribeOptions
from whisper_core.text.transcript import ComputedPrecision, Segment

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """How windows are decoded and judged, with openai-whisper's names and defaults.

    A threshold of None is never crossed.
    """

    temperatures: tuple[float, ...] = TEMPERATURES  # tried in turn until the result is plausible
    beam_size: int | None = None  # beams at temperature 0; None for greedy decoding
    patience: float | None = None  # of beam search
    best_of: int | None = None  # samples at a temperature above 0; None for one
    length_penalty: float | None = None  # for ranking beams and samples; None for their mean logprob
    suppress_tokens: str = ALL_SYMBOLS  # ids of tokens that are never chosen; empty for none
    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6
    condition_on_previous_text: bool = True


DEFAULT_SETTINGS = DecodeSettings()


def settings_of(options: TranscribeOptions) -> DecodeSettings:
    return DecodeSettings(
        beam_size=options.beam_size,
        patience=options.patience,
        best_of=options.best_of,
        length_penalty=options.length_penalty,
        suppress_tokens=options.suppress_tokens,
        compression_ratio_threshold=options.compression_ratio_threshold,
        logprob_threshold=options.logprob_threshold,
        no_speech_threshold=options.no_speech_threshold,
        condition_on_previous_text=options.condition_on_previous_text,
    )


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
    is_multilingual: bool
    num_languages: int
    n_audio_ctx: int  # the encoder's outputs for one window
    n_text_ctx: int  # the longest text context: prompt and sampled tokens
    n_mels: int
    precision: ComputedPrecision  # in which it answers requests, so that the transcript can say so
    tokenizer: Callable[[str, TaskKind], Tokenizer]  # the model's own, for a language code and a task


@dataclass(frozen=True)
class Encode:
    """Run the encoder over one window.

    Answer: the audio features, in a form of the engine's own. They are handed back in later requests, until the next
    Encode or the end of the window.
    """

    mel: Mel


@dataclass(frozen=True)
class DetectLanguage:
    """Answer: the code of the most probable language."""

    features: Any  # the answer to Encode


@dataclass(frozen=True)
class Decode:
    """Decode one window at one temperature. Answer: a `Decoded`."""

    features: Any  # the answer to Encode
    prompt: tuple[int, ...]  # tokens of previous text, at most n_text_ctx // 2 - 1
    language: str
    task: TaskKind
    temperature: float
    seek: int  # the window's first mel frame; with the temperature it seeds the sampling
    settings: DecodeSettings


@dataclass(frozen=True)
class Decoded:
    tokens: tuple[int, ...]  # without the end token
    temperature: float
    avg_logprob: float  # the tokens' mean, the end token's included
    compression_ratio: float  # the text's bytes over its zlib-compressed bytes
    no_speech_prob: float


@dataclass(frozen=True)
class Align:
    """Find the words' times. Answer: the same segments with their words, and with start and end moved to them."""

    mel: Mel  # the window again, because upstream encodes it once more, without fused attention
    num_frames: int  # of content in the window
    segments: tuple[Segment, ...]
    language: str
    task: TaskKind
    last_speech_timestamp: float  # the end of the last word before this window, in seconds


Request = Union[Encode, DetectLanguage, Decode, Align]


def sampling_seed(task_seed: int, seek: int, temperature: float) -> int:
    """The seed of one decoding, in torch's range: the same in every process and after a resume, and a different one for
    every window and temperature. seek: the window's first mel frame."""
    digest = hashlib.blake2b(f"{task_seed} {seek} {temperature}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
