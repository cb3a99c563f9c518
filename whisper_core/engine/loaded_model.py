"""One resident model: its parts as the engine computes with them, and the requests that are answered at once."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import torch
from whisper.model import Whisper
from whisper.tokenizer import get_tokenizer

from whisper_core.engine.active_task import RunningStrand
from whisper_core.engine.alignment import align
from whisper_core.engine.decoding.sequence import Sequence, sequence_of
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt
from whisper_core.engine.network.dims import decoder_shape
from whisper_core.engine.network.encoder import WindowEncoder
from whisper_core.engine.network.layers import decoder_layers
from whisper_core.model_requests import Align, Decode, ModelTraits
from whisper_core.text.options import TaskKind
from whisper_core.text.transcript import Segment


class LoadedModel:
    """dtype: of the model's matrices; fp32 on the CPU, fp16 on a GPU.

    Keeps of `model` only what is used, so that its decoder's matrices go once they have been laid out anew.
    weights_bytes: of all that is kept.
    """

    def __init__(self, model: Whisper, dtype: torch.dtype) -> None:
        dims = model.dims
        self._alignment_heads = model.alignment_heads
        self._tokenizer = cache(partial(_tokenizer_of, model.is_multilingual, model.num_languages))
        self.shape = decoder_shape(model, dtype)
        self.layers = decoder_layers(model.decoder, dtype)
        self.encoder = WindowEncoder(model, self.shape)
        self.rules = TokenRules.of(self._tokenizer("en", "transcribe"), dims.n_audio_ctx, model.device)
        self.traits = ModelTraits(
            is_multilingual=model.is_multilingual,
            num_languages=model.num_languages,
            n_audio_ctx=dims.n_audio_ctx,
            n_text_ctx=dims.n_text_ctx,
            n_mels=dims.n_mels,
            tokenizer=self._tokenizer,
        )
        self.weights_bytes = _bytes_of(model)

    def detect_language(self, cross: CrossCache) -> str:
        """cross: of one window. Gives the code of the likeliest language."""
        tokenizer = self._tokenizer(None, None)
        start = torch.tensor([tokenizer.sot], device=self.shape.device)
        logits = self.layers.logits(run_prompt(self.layers, start, cross))[0]
        best = int(logits[list(tokenizer.all_language_tokens)].argmax())
        language: str = tokenizer.all_language_codes[best]
        return language

    def align(self, request: Align, cross: CrossCache) -> tuple[Segment, ...]:
        tokenizer = self._tokenizer(request.language, request.task)
        return align(request, self.layers, cross, self._alignment_heads, tokenizer)

    def sequence(self, strand: RunningStrand) -> Sequence:
        """For the Decode that the strand waits for."""
        request = strand.request
        tokenizer = self._tokenizer(request.language, request.task) if isinstance(request, Decode) else None
        return sequence_of(strand, tokenizer, self.shape.text_positions, self.shape.device)


def _tokenizer_of(is_multilingual: bool, num_languages: int, language: str | None, task: TaskKind | None) -> Any:
    return get_tokenizer(is_multilingual, num_languages=num_languages, language=language, task=task)


def _bytes_of(model: Whisper) -> int:
    """Of the engine's tensors. On the CPU the decoder's matrices lie in two layouts, and the vocabulary's in a third,
    for the embedding; on a GPU query, key and value are once more, fused, and the vocabulary is once more, in fp16."""
    tensors = (*model.parameters(), *model.buffers())
    once = sum(int(tensor.nbytes) for tensor in tensors if not tensor.is_sparse)
    decoder, vocabulary = model.decoder, model.decoder.token_embedding.weight
    if model.device.type == "cpu":
        return once + sum(int(tensor.nbytes) for tensor in decoder.parameters()) + int(vocabulary.nbytes)
    attentions = [block.attn for block in (*model.encoder.blocks, *decoder.blocks)]
    fused = sum(3 * int(attention.query.weight.nbytes) for attention in attentions)
    return once + fused + int(vocabulary.nbytes) // 2
