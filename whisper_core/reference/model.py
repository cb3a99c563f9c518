"""Answers the transcription algorithm's requests with openai-whisper's own functions.

Two things are done less often than upstream does them, with the same numbers: a window is encoded once for all
temperatures, and on a GPU the matrices are cast to fp16 once (upstream.place_on) instead of at every call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from whisper.decoding import DecodingOptions
from whisper.model import Whisper

from whisper_core.audio.log_mel import Mel
from whisper_core.model_requests import (
    Align,
    Decode,
    Decoded,
    DetectLanguage,
    Encode,
    Request,
    sampling_seed,
)
from whisper_core.text.transcript import Segment
from whisper_core.upstream import align_words, matrix_dtype, traits_of


class ReferenceModel:
    """seed: of the task; sampling is seeded anew with it for every window and temperature, so it is the same after a
    resume. None leaves torch's global generator alone, as upstream does."""

    def __init__(self, model: Whisper, *, seed: int | None = None) -> None:
        self._model = model
        self._seed = seed
        self._dtype = matrix_dtype(model.device)
        self.traits = traits_of(model)

    def serve(self, request: Request) -> Any:
        """The answer that model_requests.py describes. Features are a (1, n_audio_ctx, n_audio_state) tensor."""
        match request:
            case Encode(mel):
                return self._encode(mel)
            case DetectLanguage(features):
                return self._detect_language(features)
            case Decode():
                return self._decode(request)
            case Align():
                return self._align(request)

    @torch.no_grad()
    def _encode(self, mel: Mel) -> Tensor:
        features: Tensor = self._model.encoder(self._on_device(mel).unsqueeze(0))
        return features

    def _detect_language(self, features: Tensor) -> str:
        _, probabilities = self._model.detect_language(features)
        language: str = max(probabilities[0], key=probabilities[0].get)
        return language

    def _decode(self, request: Decode) -> Decoded:
        if request.temperature > 0 and self._seed is not None:
            torch.manual_seed(sampling_seed(self._seed, request.seek, request.temperature))
        # Given features instead of a mel, upstream skips its encoder.
        result = self._model.decode(request.features, self._options(request))[0]
        return Decoded(
            tokens=tuple(result.tokens),
            temperature=result.temperature,
            avg_logprob=result.avg_logprob,
            compression_ratio=result.compression_ratio,
            no_speech_prob=result.no_speech_prob,
        )

    def _options(self, request: Decode) -> DecodingOptions:
        is_sampling, settings = request.temperature > 0, request.settings
        return DecodingOptions(
            task=request.task,
            language=request.language,
            temperature=request.temperature,
            best_of=settings.best_of if is_sampling else None,
            beam_size=None if is_sampling else settings.beam_size,
            patience=None if is_sampling else settings.patience,
            length_penalty=settings.length_penalty,
            suppress_tokens=settings.suppress_tokens,
            prompt=list(request.prompt),
            fp16=self._dtype == torch.float16,
        )

    def _align(self, request: Align) -> tuple[Segment, ...]:
        tokenizer = self.traits.tokenizer(request.language, request.task)
        try:
            return align_words(request, self._model, tokenizer, self._on_device(request.mel))
        finally:
            self._remove_alignment_hooks()

    def _remove_alignment_hooks(self) -> None:
        """Upstream leaves its hooks in place when the pass fails, when memory runs out for instance; with them no later
        pass works."""
        for block in self._model.decoder.blocks:
            block.cross_attn._forward_hooks.clear()

    def _on_device(self, mel: Mel) -> Tensor:
        return mel.tensor().to(self._model.device).to(self._dtype)
