"""One recording through openai-whisper and through our algorithm, for comparing them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from whisper.model import Whisper

from tests.whisper_core.toy_model import toy_model
from whisper_core.audio.log_mel import LogMel
from whisper_core.model_requests import DecodeSettings, settings_of
from whisper_core.reference.model import ReferenceModel
from whisper_core.text.options import TranscribeOptions
from whisper_core.text.transcript import Transcript, WindowResult
from whisper_core.transcribe import ResumePoint, transcribe_audio

Samples = npt.NDArray[np.int16]
SamplesOf = Callable[[Path], Samples]

RATE = 16_000


def noise(seconds: float, seed: int = 0) -> Samples:
    """Bursts of noise with pauses between them."""
    random = np.random.default_rng(seed)
    num_samples = round(seconds * RATE)
    envelope = np.repeat(random.choice([0, 300, 3000, 12000], num_samples // 8000 + 1), 8000)[:num_samples]
    return (random.standard_normal(num_samples) * envelope).clip(-32768, 32767).astype(np.int16)


def short_toy(seed: int, *, is_multilingual: bool = True, n_text_ctx: int = 40, sharpness: float = 0.5) -> Whisper:
    """A toy model that samples n_text_ctx // 2 tokens a window at most, so that a test takes a second or less.

    sharpness: scales the logits; the sharper, the more often text wins over the sum of the timestamps.
    """
    model = toy_model(seed, is_multilingual)
    model.dims = replace(model.dims, n_text_ctx=n_text_ctx)
    decoder = model.decoder
    decoder.positional_embedding = torch.nn.Parameter(decoder.positional_embedding[:n_text_ctx].detach().clone())
    decoder.mask = decoder.mask[:n_text_ctx, :n_text_ctx].clone()
    with torch.no_grad():
        decoder.ln.weight.mul_(sharpness)
    return model


def upstream_result(
    model: Whisper,
    samples: Samples,
    options: TranscribeOptions,
    settings: DecodeSettings | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """whisper.transcribe's dict, with the generator of torch seeded before."""
    torch.manual_seed(seed)
    settings = settings or settings_of(options)
    result: dict[str, Any] = model.transcribe(
        samples.astype(np.float32) / 32768.0,
        fp16=False,
        language=options.language,
        task=options.task,
        initial_prompt=options.initial_prompt,
        carry_initial_prompt=options.carry_initial_prompt,
        word_timestamps=options.word_timestamps,
        hallucination_silence_threshold=options.hallucination_silence_threshold,
        clip_timestamps=options.clip_timestamps,
        temperature=settings.temperatures if options.temperature is None else options.temperature,
        beam_size=settings.beam_size,
        best_of=settings.best_of,
        patience=settings.patience,
        length_penalty=settings.length_penalty,
        suppress_tokens=settings.suppress_tokens,
        compression_ratio_threshold=settings.compression_ratio_threshold,
        logprob_threshold=settings.logprob_threshold,
        no_speech_threshold=settings.no_speech_threshold,
        condition_on_previous_text=settings.condition_on_previous_text,
    )
    return result


def our_windows(
    model: Whisper,
    samples: Samples,
    options: TranscribeOptions,
    settings: DecodeSettings | None = None,
    *,
    seed: int = 0,
    task_seed: int | None = None,
    resume: ResumePoint | None = None,
    stop_after: int | None = None,
) -> tuple[Transcript | None, list[WindowResult]]:
    """Our transcript and its windows. task_seed: None samples from torch's own generator, as upstream does."""
    torch.manual_seed(seed)
    reference = ReferenceModel(model, seed=task_seed)
    windows: list[WindowResult] = []
    transcript = transcribe_audio(
        LogMel(samples, model.dims.n_mels),
        reference.traits,
        options,
        reference.serve,
        settings=settings,
        resume=resume,
        on_window=windows.append,
        should_stop=lambda: stop_after is not None and len(windows) >= stop_after,
    )
    return transcript, windows


def assert_parity(
    model: Whisper, samples: Samples, options: TranscribeOptions, settings: DecodeSettings | None = None
) -> Transcript:
    """Every field of every segment is equal, floats included, and nothing but the precision is added."""
    expected = upstream_result(model, samples, options, settings)
    transcript, windows = our_windows(model, samples, options, settings)
    assert transcript is not None
    assert transcript.to_dict() == {**expected, "precision": "fp32"}
    assert [segment for window in windows for segment in window.segments] == list(transcript.segments)
    assert [window.index for window in windows] == list(range(len(windows)))
    return transcript


def resume_after(windows: list[WindowResult]) -> ResumePoint:
    """As the server saves and restores it: through JSON."""
    saved = [WindowResult.from_dict(json.loads(json.dumps(asdict(window)))) for window in windows]
    segments = tuple(segment for window in saved for segment in window.segments)
    return ResumePoint(saved[-1].checkpoint, segments, saved[-1].index + 1)
