"""Bytes that a model's weights and one task take on a device, from the model's dimensions alone. Imports no torch.

Describes ReferenceEngine: fp32 on the CPU; on a GPU matrices in fp16, embeddings and layer norms in fp32. Published
tables (1, 1, 2, 5, 10, 6 GB) are about twice what is used, which would halve what runs at once.

Held against measurements of `whisper.model.Whisper` with random weights (torch 2.13, 2 cores, growth of resident memory
at its peak): a window with the longest prompt and, for tiny and base, 224 sampled tokens took 168 MiB with tiny, 193
with base, 260 with small; the pass for word timestamps with 220 tokens 401, 524 and 688. The formula gives 1.3 to 1.7
times that. The GPU's side is not measured yet.
"""

from __future__ import annotations

from optimizer.placement import DeviceKind
from whisper_core.models import ModelDimensions, model_info

_MATRIX_BYTES: dict[DeviceKind, int] = {"cpu": 4, "cuda": 2}
_FP32 = 4
_MB = 1_000_000

# The process without its models: torch and whisper imported (measured: 297 MB), and what libraries and allocators keep
# after the first tasks (480 MB in all after three tasks of `base`); on a card the CUDA context and its libraries.
CONTEXT_BYTES: dict[DeviceKind, int] = {"cpu": 500 * _MB, "cuda": 800 * _MB}

# What allocators keep, libraries load at first use, cuBLAS takes as workspace; on the CPU also the 25 MB of features.
_TASK_OVERHEAD: dict[DeviceKind, int] = {"cpu": 120 * _MB, "cuda": 160 * _MB}
_WEIGHTS_OVERHEAD = 16 * _MB
_LONGEST_PROMPT = 227  # 223 tokens of previous text and the start-of-transcript sequence
_ENCODER_TENSORS = 10 * 1.3  # of 1500 × state that live at once in a layer, with the allocator's rounding
# Samples are mapped from the file, so the system can take them back; they count as resident all the same.
_CPU_BYTES_PER_SECOND = 33_000

_ALIGNMENT_HEADS = 12  # openai-whisper's tables name 6 to 23 a model
_MEDIAN_FILTER_COPIES = 22  # windows of 7 values, their sorted copy, int64 indices


def weights_formula(model: str, kind: DeviceKind) -> int:
    """Of a resident model. Raises UnknownModelError."""
    info = model_info(model)
    dims = info.dimensions
    embeddings = (dims.n_vocab + dims.n_text_ctx) * dims.n_text_state
    buffers = dims.n_audio_ctx * dims.n_audio_state + dims.n_text_ctx**2
    matrices = info.parameters - embeddings
    return matrices * _MATRIX_BYTES[kind] + (embeddings + buffers) * _FP32 + _WEIGHTS_OVERHEAD


def task_formula(model: str, kind: DeviceKind, audio_seconds: float, *, word_timestamps: bool = False) -> int:
    """Of one running task, beyond the weights. Never shrinks as the recording gets longer. Raises UnknownModelError."""
    dims = model_info(model).dimensions
    total = _slot(dims, kind) + _encoder(dims, kind) + _decoder(dims, kind) + _TASK_OVERHEAD[kind]
    if word_timestamps:
        total += _alignment(dims, kind)
    if kind == "cpu":
        total += int(_CPU_BYTES_PER_SECOND * max(0.0, audio_seconds))
    return total


def _slot(dims: ModelDimensions, kind: DeviceKind) -> int:
    """Keys and values: cross-attention's once, self-attention's twice, since upstream grows them by copying."""
    positions = dims.n_audio_ctx + 2 * dims.n_text_ctx
    return 2 * dims.n_text_layer * positions * dims.n_text_state * _MATRIX_BYTES[kind]


def _encoder(dims: ModelDimensions, kind: DeviceKind) -> int:
    return int(_ENCODER_TENSORS * dims.n_audio_ctx * dims.n_audio_state * _MATRIX_BYTES[kind])


def _decoder(dims: ModelDimensions, kind: DeviceKind) -> int:
    """The logits of a whole prompt; on a GPU in fp16 and fp32, with the embedding cast to fp16 for them."""
    logits = _LONGEST_PROMPT * dims.n_vocab
    if kind == "cpu":
        return logits * _FP32
    return logits * (_MATRIX_BYTES[kind] + _FP32) + dims.n_vocab * dims.n_text_state * _MATRIX_BYTES[kind]


def _alignment(dims: ModelDimensions, kind: DeviceKind) -> int:
    """The pass for word timestamps keeps attention weights, in fp32 on every device: in the encoder one layer's, for a
    moment; in the decoder all layers', and then those of the alignment heads through the median filter."""
    encoder = 3 * dims.n_audio_head * dims.n_audio_ctx**2 * _FP32
    one_head = _LONGEST_PROMPT * dims.n_audio_ctx * _FP32
    decoder = (dims.n_text_layer * dims.n_text_head + _ALIGNMENT_HEADS * _MEDIAN_FILTER_COPIES) * one_head
    return max(encoder, decoder) + 2 * _LONGEST_PROMPT * dims.n_vocab * _FP32
