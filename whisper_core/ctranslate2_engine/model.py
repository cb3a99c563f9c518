"""Answers the transcription algorithm's requests with CTranslate2."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import ctranslate2
import numpy as np
import torch
from whisper.timing import WordTiming
from whisper.utils import compression_ratio

from whisper_core.audio.log_mel import Mel
from whisper_core.engine.decoding.token_rules import suppressed_tokens
from whisper_core.model_requests import (
    Align,
    Decode,
    Decoded,
    DetectLanguage,
    Encode,
    ModelTraits,
    Request,
)
from whisper_core.text.transcript import Segment
from whisper_core.upstream import align_words

_TOKENS_PER_SECOND = 50  # the encoder's outputs


class Ctranslate2Model:
    """Samples at a temperature above 0 differ from one attempt to the next: CTranslate2 seeds a thread only once."""

    def __init__(self, model: ctranslate2.models.Whisper, traits: ModelTraits) -> None:
        self._model = model
        self.traits = traits

    def serve(self, request: Request) -> Any:
        """The answer that model_requests.py describes. Features are CTranslate2's own."""
        match request:
            case Encode(mel):
                return self._encode(mel)
            case DetectLanguage(features):
                return self._model.detect_language(features)[0][0][0].strip("<|>")
            case Decode():
                return self._decode(request)
            case Align():
                return self._align(request)

    def _encode(self, mel: Mel) -> Any:
        samples = np.ascontiguousarray(mel.tensor()[None].numpy())
        return self._model.encode(ctranslate2.StorageView.from_array(samples))

    def _decode(self, request: Decode) -> Decoded:
        tokenizer: Any = self.traits.tokenizer(request.language, request.task)
        previous = [tokenizer.sot_prev, *request.prompt] if request.prompt else []
        prompt = [*previous, *tokenizer.sot_sequence]
        penalty = 1.0 if request.settings.length_penalty is None else request.settings.length_penalty
        (result,) = self._model.generate(
            request.features,
            [prompt],
            max_length=self.traits.n_text_ctx,  # of which half may be sampled, as by openai-whisper
            length_penalty=penalty,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=sorted(suppressed_tokens(request.settings.suppress_tokens, tokenizer)),
            **_search(request),
        )
        tokens = result.sequences_ids[0]
        log_probability = result.scores[0] * len(tokens) ** penalty
        return Decoded(
            tokens=tuple(tokens),
            temperature=request.temperature,
            avg_logprob=log_probability / (len(tokens) + 1),
            compression_ratio=compression_ratio(tokenizer.decode(tokens).strip()),
            no_speech_prob=result.no_speech_prob,
        )

    def _align(self, request: Align) -> tuple[Segment, ...]:
        tokenizer: Any = self.traits.tokenizer(request.language, request.task)

        def find_alignment(
            _model: object, _tokenizer: object, text_tokens: Sequence[int], _mel: object, num_frames: int
        ) -> list[WordTiming]:
            if not text_tokens:
                return []
            features, texts = self._encode(request.mel), [list(text_tokens)]
            (found,) = self._model.align(features, list(tokenizer.sot_sequence), texts, num_frames)
            return _word_timings(tokenizer, list(text_tokens), found.alignments, found.text_token_probs)

        return align_words(request, None, tokenizer, torch.empty(0), find_alignment)


def _search(request: Decode) -> dict[str, Any]:
    """Beams or the likeliest token at temperature 0, samples above it."""
    settings = request.settings
    if request.temperature == 0:
        return {"beam_size": settings.beam_size or 1, "patience": settings.patience or 1.0}
    return {
        "beam_size": 1,
        "num_hypotheses": settings.best_of or 1,
        "sampling_topk": 0,
        "sampling_temperature": request.temperature,
    }


def _word_timings(
    tokenizer: Any, text_tokens: list[int], alignments: Sequence[tuple[int, int]], probabilities: Sequence[float]
) -> list[WordTiming]:
    """Source: openai-whisper timing.py, the end of find_alignment."""
    words, word_tokens = tokenizer.split_to_word_tokens([*text_tokens, tokenizer.eot])
    if len(word_tokens) <= 1:
        return []
    boundaries = np.pad(np.cumsum([len(tokens) for tokens in word_tokens[:-1]]), (1, 0))
    text_indices, time_indices = (np.array(indices) for indices in zip(*alignments, strict=True))
    jumps = np.pad(np.diff(text_indices), (1, 0), constant_values=1).astype(bool)
    jump_times = time_indices[jumps] / _TOKENS_PER_SECOND
    starts, ends = jump_times[boundaries[:-1]], jump_times[boundaries[1:]]
    means = [np.mean(probabilities[first:last]) for first, last in pairwise(boundaries)]
    return [WordTiming(*each) for each in zip(words, word_tokens, starts, ends, means, strict=False)]
