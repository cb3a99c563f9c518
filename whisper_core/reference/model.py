"""One openai-whisper model as the answerer of the transcription algorithm's requests.

Two things are done less often than upstream does them, with the same numbers: a window is encoded once for all
temperatures, and on a GPU the matrices are cast to fp16 once instead of at every call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from whisper.decoding import DecodingOptions
from whisper.model import Conv1d, Linear, Whisper
from whisper.timing import add_word_timestamps
from whisper.tokenizer import get_tokenizer

from whisper_core.audio.log_mel import Mel
from whisper_core.model_requests import (
    Align,
    Decode,
    Decoded,
    DetectLanguage,
    Encode,
    ModelTraits,
    Request,
    Tokenizer,
)
from whisper_core.sampling_seed import sampling_seed
from whisper_core.text.options import TaskKind
from whisper_core.text.transcript import Segment, Word


class ReferenceModel:
    """Answers the algorithm's requests with one openai-whisper model.

    seed: sampling is seeded anew by it for every window and temperature, so it is the same after a resume; None leaves
    torch's global generator alone, as upstream does.
    """

    def __init__(self, model: Whisper, *, seed: int | None = None) -> None:
        self._model = model
        self._seed = seed
        self._dtype = torch.float16 if model.device.type == "cuda" else torch.float32

    @property
    def traits(self) -> ModelTraits:
        dims = self._model.dims
        return ModelTraits(
            is_multilingual=self._model.is_multilingual,
            num_languages=self._model.num_languages,
            n_audio_ctx=dims.n_audio_ctx,
            n_text_ctx=dims.n_text_ctx,
            n_mels=dims.n_mels,
            tokenizer=self._tokenizer,
        )

    def serve(self, request: Request) -> Any:
        """The answer that model_requests.py promises. Features are a (1, n_audio_ctx, n_audio_state) tensor."""
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
        # Features instead of a mel: upstream then skips its encoder.
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
            prompt=list(request.prompt),
            fp16=self._dtype == torch.float16,
        )

    def _align(self, request: Align) -> tuple[Segment, ...]:
        segments = [segment.to_dict() for segment in request.segments]
        threads = torch.get_num_threads()
        try:
            add_word_timestamps(
                segments=segments,
                model=self._model,
                tokenizer=self._tokenizer(request.language, request.task),
                mel=self._on_device(request.mel),
                num_frames=request.num_frames,
                last_speech_timestamp=request.last_speech_timestamp,
            )
        finally:
            self._remove_alignment_hooks()
            torch.set_num_threads(threads)  # numba, in the alignment, shares OpenMP with torch and sets its own number
        return tuple(aligned_segment(segment) for segment in segments)

    def _remove_alignment_hooks(self) -> None:
        """Upstream leaves them in place when the pass fails (out of memory, say), and then no later pass works."""
        for block in self._model.decoder.blocks:
            block.cross_attn._forward_hooks.clear()

    def _on_device(self, mel: Mel) -> Tensor:
        return mel.tensor().to(self._model.device).to(self._dtype)

    def _tokenizer(self, language: str, task: TaskKind) -> Tokenizer:
        tokenizer: Tokenizer = get_tokenizer(
            self._model.is_multilingual, num_languages=self._model.num_languages, language=language, task=task
        )
        return tokenizer


def halve_matrices(model: Whisper) -> None:
    """Keep the weights that upstream casts to fp16 at every call in fp16. The rest is used in fp32 and stays so."""
    for module in model.modules():
        if isinstance(module, Linear | Conv1d):
            module.half()


def aligned_segment(fields: dict[str, Any]) -> Segment:
    """An upstream segment with its words; upstream leaves numpy's numbers in it."""
    words = tuple(
        Word(word["word"], float(word["start"]), float(word["end"]), float(word["probability"]))
        for word in fields["words"]
    )
    times = {"start": float(fields["start"]), "end": float(fields["end"])}
    return Segment(**{**fields, **times, "tokens": tuple(fields["tokens"]), "words": words})
