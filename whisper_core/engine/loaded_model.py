"""One resident model: its parts laid out for the engine, and the requests that are answered without a slot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from whisper.model import Linear, Whisper

from whisper_core.engine.alignment import align
from whisper_core.engine.decoding.search import SlotKind
from whisper_core.engine.decoding.sequence import Sequence
from whisper_core.engine.decoding.slot_batch import Decoder
from whisper_core.engine.decoding.step_kernels import step_kernels_for
from whisper_core.engine.decoding.token_rules import TokenRules
from whisper_core.engine.network.cross_attention import CrossCache
from whisper_core.engine.network.decoder import run_prompt
from whisper_core.engine.network.dims import DecoderDims, Rows
from whisper_core.engine.network.encoder import WindowEncoder
from whisper_core.engine.network.kernels import exact_kernels, int8_kernels
from whisper_core.engine.network.layers import decoder_layers
from whisper_core.model_requests import Align, Decode
from whisper_core.models.catalogue import Precision
from whisper_core.text.options import ALL_SYMBOLS
from whisper_core.text.transcript import Segment
from whisper_core.upstream import matrix_dtype, traits_of


class LoadedModel:
    """Keeps of `model` only what it uses, so that the matrices which are laid out anew are freed.

    model: on its device, with its matrices in the dtype that the engine computes in (upstream.place_on).
    precision: int8 on a CPU only.
    """

    def __init__(self, model: Whisper, precision: Precision = "default") -> None:
        is_int8 = precision == "int8"
        dtype = matrix_dtype(model.device)
        kernels = int8_kernels(model) if is_int8 else exact_kernels(model)
        traits = traits_of(model)
        self._alignment_heads = model.alignment_heads
        dims = DecoderDims.of(model, dtype, kernels.cross_form)
        layers = decoder_layers(model.decoder, dtype, kernels.decoder_matrix)
        functions, choose = step_kernels_for(dims)
        self.decoder = Decoder(layers, dims, functions, choose)
        self.encoder = WindowEncoder(model, dims, kernels, functions.add_norm)
        self.traits = replace(traits, precision="int8") if is_int8 else traits
        self.rules = self._rules_of(ALL_SYMBOLS)
        languages = self._tokenizer("en", "transcribe").all_language_tokens
        self._language_tokens = torch.tensor(list(languages), dtype=torch.int64, device=dims.device)
        self.weights_bytes = _int8_bytes_of(model) if is_int8 else _bytes_of(model)  # of everything that is kept

    def detect_language(self, cross: CrossCache) -> str:
        """The code of the likeliest language. cross: of one window. Waits for the device."""
        return self.language(int(self.likeliest_languages(cross, slice(0, 1), 1)[0]))

    def likeliest_languages(self, cross: CrossCache, places: Rows, windows: int) -> Tensor:
        """The numbers of the windows' likeliest languages, (windows,) int64. places: of the windows in `cross`."""
        layers = self.decoder.layers
        start = self._language_tokens.new_full((windows, 1), self._tokenizer("en", "transcribe").sot)
        logits = layers.logits(run_prompt(layers, start, cross, places=places)[:, 0])
        return logits[:, self._language_tokens].argmax(dim=-1)

    def language(self, number: int) -> str:
        """Its code."""
        code: str = self._tokenizer("en", "transcribe").all_language_codes[number]
        return code

    def align(self, request: Align, cross: CrossCache) -> tuple[Segment, ...]:
        """The request's segments with their words. cross: of the request's window."""
        tokenizer = self._tokenizer(request.language, request.task)
        return align(request, self.decoder.layers, cross, self._alignment_heads, tokenizer)

    def sequence(self, request: Decode, *, owner: Any, task_seed: int) -> Sequence:
        tokenizer = self._tokenizer(request.language, request.task)
        return Sequence.of(request, owner=owner, task_seed=task_seed, tokenizer=tokenizer, dims=self.decoder.dims)

    def rules_for(self, kind: SlotKind) -> TokenRules:
        is_usual = kind.suppress_tokens == self.rules.suppress_tokens
        return self.rules if is_usual else self._rules_of(kind.suppress_tokens)

    def _rules_of(self, suppress_tokens: str) -> TokenRules:
        tokenizer = self._tokenizer("en", "transcribe")
        dims = self.decoder.dims
        return TokenRules.of(tokenizer, dims.audio_positions, dims.device, suppress_tokens)

    def _tokenizer(self, language: str, task: Any) -> Any:
        return self.traits.tokenizer(language, task)


def _bytes_of(model: Whisper) -> int:
    """Bytes of the engine's tensors for this model.

    On the CPU the decoder's matrices are kept in two layouts, and the vocabulary in a third, for the embedding. On a
    GPU query, key and value are kept a second time, fused, and the vocabulary a second time, in fp16.
    """
    tensors = (*model.parameters(), *model.buffers())
    once = sum(int(tensor.nbytes) for tensor in tensors if not tensor.is_sparse)
    decoder, vocabulary = model.decoder, model.decoder.token_embedding.weight
    if model.device.type == "cpu":
        return once + sum(int(tensor.nbytes) for tensor in decoder.parameters()) + int(vocabulary.nbytes)
    attentions = [block.attn for block in (*model.encoder.blocks, *decoder.blocks)]
    fused = sum(3 * int(attention.query.weight.nbytes) for attention in attentions)
    return once + fused + int(vocabulary.nbytes) // 2


def _int8_bytes_of(model: Whisper) -> int:
    """Bytes of the engine's tensors for this model in int8.

    oneDNN's matrices are kept as they were given, too, so a weight takes up to two bytes; each output has a scale and
    a bias in fp32. The vocabulary is also kept as the embedding, in the file's precision.
    """
    matrices = [module for module in model.modules() if isinstance(module, Linear)]
    packed = {id(parameter) for matrix in matrices for parameter in matrix.parameters()}
    tensors = (*model.parameters(), *model.buffers())
    kept = sum(int(each.nbytes) for each in tensors if not each.is_sparse and id(each) not in packed)
    vocabulary = model.decoder.token_embedding.weight
    shapes = [tuple(weight.shape) for weight in (*(matrix.weight for matrix in matrices), vocabulary)]
    return kept + sum(int(outputs * (2 * inputs + 2 * 4)) for outputs, inputs in shapes)
