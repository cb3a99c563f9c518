"""A model that hears whatever a random generator says: upstream's loop and ours ask it the same, or they differ.

What it answers depends on all that it is asked: the window's features, the prompt and the temperature, and for words
also the segments. So a thousand windows, with every shape of timestamps, take a second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from whisper.decoding import DecodingOptions, DecodingResult
from whisper.model import ModelDimensions

from tests.whisper_core.parity import Samples
from tests.whisper_core.toy_model import toy_dimensions
from whisper_core.audio.log_mel import LogMel
from whisper_core.model_requests import Align, Decode, Decoded, Encode, Request, settings_of
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Segment, Transcript, WindowResult, Word
from whisper_core.transcribe import ResumePoint, transcribe_audio
from whisper_core.upstream import traits_of

MOST_WINDOWS = 80  # of one recording; openai-whisper goes round for ever where a last word ends with its window


class EndlessError(Exception):
    """openai-whisper would decode this recording for ever."""


class ScriptedModel:
    """The part of a Whisper that `whisper.transcribe` uses, for English."""

    device = torch.device("cpu")
    is_multilingual = True
    num_languages = 99

    def __init__(self, seed: int) -> None:
        self.dims = ModelDimensions(**{**vars(toy_dimensions()), "n_text_ctx": 40})
        self._seed = seed
        self.windows_left = MOST_WINDOWS
        self.prompts: list[tuple[int, ...]] = []
        self.traits = traits_of(self)
        self._timestamp_begin = self.traits.tokenizer("en", "transcribe").timestamp_begin

    def decode(self, mel: Tensor, options: DecodingOptions) -> DecodingResult:
        answer = self.answer(mel, tuple(options.prompt or ())[-(self.dims.n_text_ctx // 2 - 1) :], options.temperature)
        return DecodingResult(
            audio_features=mel,
            language="en",
            tokens=list(answer.tokens),
            avg_logprob=answer.avg_logprob,
            no_speech_prob=answer.no_speech_prob,
            temperature=answer.temperature,
            compression_ratio=answer.compression_ratio,
        )

    def answer(self, mel: Tensor, prompt: tuple[int, ...], temperature: float) -> Decoded:
        self.windows_left -= 1
        if self.windows_left < 0:
            raise EndlessError
        self.prompts.append(prompt)
        random = self._random(mel, prompt, temperature)
        return Decoded(
            tokens=self._tokens(random),
            temperature=temperature,
            avg_logprob=random.uniform(-1.6, 0.0),
            compression_ratio=random.uniform(0.5, 3.0),
            no_speech_prob=random.uniform(0.0, 1.0),
        )

    def _tokens(self, random: np.random.Generator) -> tuple[int, ...]:
        """Segments of one to nine words, mostly with a start and an end, in the order of time."""
        times = sorted(int(time) for time in random.integers(0, 1501, 2 * random.integers(1, 5)))
        tokens: list[int] = []
        for start, end in zip(times[::2], times[1::2], strict=True):
            text = [int(token) for token in random.integers(0, 20_000, random.integers(0, 10))]
            tokens += [self._timestamp_begin + start, *text, self._timestamp_begin + end]
        if random.random() < 0.4:
            tokens.append(tokens[-1])
            tokens += [int(token) for token in random.integers(0, 20_000, 3)]
        return tuple(tokens[random.random() < 0.1 :])

    def words(self, segment: dict[str, Any], mel: Tensor, last_speech_timestamp: float) -> list[Word]:
        """Some improbable, very short or very long."""
        random = self._random(mel, segment["start"], segment["text"], last_speech_timestamp)
        number = int(random.integers(0, 6))
        lengths = random.choice([0.02, 0.3, 0.4, 2.5], number)
        starts = segment["start"] + np.cumsum(lengths) - lengths + random.choice([0.0, 0.0, 3.0])
        return [
            Word(random.choice([" a", " b", ","]), round(float(start), 2), round(float(start + length), 2), probability)
            for start, length, probability in zip(
                starts, lengths, random.choice([0.05, 0.9], number).tolist(), strict=True
            )
        ]

    def _random(self, mel: Tensor, *parts: object) -> np.random.Generator:
        features = hashlib.sha256(mel[::16].numpy().tobytes()).hexdigest()  # of five bands, which is enough
        digest = hashlib.blake2b(repr((self._seed, features, *parts)).encode(), digest_size=8).digest()
        return np.random.default_rng(int.from_bytes(digest, "little"))


def upstream_result(model: ScriptedModel, samples: Samples, options: TranscribeOptions) -> dict[str, Any]:
    """whisper.transcribe's dict. Raises EndlessError where it would not return."""
    from whisper.transcribe import transcribe

    def add_word_timestamps(
        *, segments: list[dict[str, Any]], mel: Tensor, last_speech_timestamp: float, **_: Any
    ) -> None:
        for segment in segments:
            words = model.words(segment, mel, last_speech_timestamp)
            segment["words"] = [word.to_dict() for word in words]
            if words:
                segment["start"], segment["end"] = words[0].start, words[-1].end

    with patch("whisper.transcribe.add_word_timestamps", add_word_timestamps):
        result: dict[str, Any] = transcribe(
            model,
            samples.astype(np.float32) / 32768.0,
            fp16=False,
            language="en",
            temperature=settings_of(options).temperatures if options.temperature is None else options.temperature,
            initial_prompt=options.initial_prompt,
            carry_initial_prompt=options.carry_initial_prompt,
            word_timestamps=options.word_timestamps,
            condition_on_previous_text=options.condition_on_previous_text,
            compression_ratio_threshold=options.compression_ratio_threshold,
            logprob_threshold=options.logprob_threshold,
            no_speech_threshold=options.no_speech_threshold,
            hallucination_silence_threshold=options.hallucination_silence_threshold,
            clip_timestamps=options.clip_timestamps,
        )
    return result


def our_windows(
    model: ScriptedModel, samples: Samples, options: TranscribeOptions, resume: ResumePoint | None = None
) -> tuple[Transcript, list[WindowResult]]:
    windows: list[WindowResult] = []
    transcript = transcribe_audio(
        LogMel(samples, 80), model.traits, options, answers_of(model), resume=resume, on_window=windows.append
    )
    assert transcript is not None
    return transcript, windows


def answers_of(model: ScriptedModel) -> Callable[[Request], Any]:
    def serve(request: Request) -> Any:
        match request:
            case Encode(mel):
                return mel.tensor()
            case Decode():
                return model.answer(request.features, request.prompt, request.temperature)
            case Align():
                return tuple(aligned(segment, request) for segment in request.segments)
        raise AssertionError(request)

    def aligned(segment: Segment, request: Align) -> Segment:
        words = model.words(segment.to_dict(), request.mel.tensor(), request.last_speech_timestamp)
        if not words:
            return replace(segment, words=())
        return replace(segment, words=tuple(words), start=words[0].start, end=words[-1].end)

    return serve
