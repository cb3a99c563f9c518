"""Bytes that a model and one task take on a device, from the model's dimensions alone. Imports no torch.

Describes the batch engine: fp32 on the CPU; on a GPU matrices in fp16, embeddings and layer norms in fp32. An int8
model, which runs on the CPU only, has its matrices in int8 and nearly all else in fp32, caches included. Published
tables (1, 1, 2, 5, 10, 6 GB) are about twice what one task alone takes, and say nothing about several.

On the CPU a resident model takes its weights and the workspace that its tasks share; each running task takes its own
slot. On a GPU the model holds so many slots from the moment it is loaded until it leaves, with all that they work with
(`held_formula`), and a running task adds little (`costs_formula`). An engine that holds nothing takes as much on a GPU
as this one did when its slots came and went with the tasks (`holds_slots=False`).

The reference engine, which runs one task at a time, has no formula of its own: it keeps no second layout of the decoder
and no rows for other tasks, but the logits of a whole prompt. Measured (`whisper.model.Whisper` with random weights,
torch 2.13, 2 cores, growth of resident memory at its peak): a window with the longest prompt took 168 MiB with tiny,
193 with base, 260 with small; the pass for word timestamps 401, 524 and 688. Workspace and task together come to 1.0 to
1.5 times that.

No card has seen what a model holds now: `held_formula` is arithmetic. Measured was the engine whose slots came and went
(NVIDIA H200, torch 2.11, fp16, random weights, six models, 1 to 64 tasks of two windows; `python -m benchmarks.cuda_all
memory`): 58 to 100 % of the formula with `holds_slots=False` was taken, weights included.
"""

from __future__ import annotations

from functools import lru_cache

from optimizer.common.kinds import DeviceKind
from optimizer.memory.costs import Costs
from whisper_core.common.slots import SLOTS
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.models.catalogue import ModelInfo

_MATRIX_BYTES: dict[DeviceKind, int] = {"cpu": 4, "cuda": 2}
_FP32 = 4
_MB = 1_000_000

# The process without its models. On the CPU: torch and whisper imported (measured: 179 MB held), what oneDNN and the
# allocators keep for every shape that they have met (up to 180 MB after fifty tasks of tiny.en), and numba once words
# are aligned (44 MB). On a card: the CUDA context and its libraries.
CONTEXT_BYTES: dict[DeviceKind, int] = {"cpu": 500 * _MB, "cuda": 800 * _MB}

_WEIGHTS_OVERHEAD = 16 * _MB
# Second copies of matrices of state × state that the engine keeps for each decoder layer. On the CPU: all that a step
# multiplies with, in another layout (query, key, value and out, the cross-attention's query and out, 8 for the MLP).
# On a GPU: query, key and value, fused, as in the encoder's layers. The vocabulary's matrix is kept in addition to the
# embedding: in two layouts, or in fp16.
_SECOND_LAYOUTS: dict[DeviceKind, int] = {"cpu": 14, "cuda": 3}
_ENCODER_SECOND_LAYOUTS: dict[DeviceKind, int] = {"cpu": 0, "cuda": 3}
_VOCABULARIES: dict[DeviceKind, int] = {"cpu": 2, "cuda": 1}

# An int8 model's matrices: oneDNN keeps them as they were given beside its own layout, a byte a weight each, and for
# each output a scale and a bias in fp32. The embedding stays as it is in the file.
_INT8_BYTES = 2
_INT8_BYTES_PER_OUTPUT = 8
_FP16 = 2

# Windows in the encoder at once. On the CPU: one in each of two threads, however many tasks run. On a GPU: up to 8 in a
# batch, which sixteen tasks filled and one does not.
_ENCODED_AT_ONCE: dict[DeviceKind, float] = {"cpu": 2, "cuda": 0}
_ENCODED_PER_TASK: dict[DeviceKind, float] = {"cpu": 0, "cuda": 0.5}
_ENCODER_TENSORS = 10 * 1.3  # of 1500 × state that live at once in a layer, with the allocator's rounding
_LOGITS_COPIES = 4  # fp32: as computed, filtered, their log-softmax, and its temporary
_LONGEST_PROMPT = 227  # 223 tokens of previous text and the start-of-transcript sequence
_PROMPT_TENSORS = 16  # of prompt × state: the input, query, key and value, the MLP's four-fold width twice, and so on
# What allocators keep, libraries load at first use, cuBLAS takes as workspace and CUDA graphs hold; on the CPU also the
# 25 MB of features that are computed at a time.
_WORKSPACE_OVERHEAD: dict[DeviceKind, int] = {"cpu": 60 * _MB, "cuda": 150 * _MB}

# What a model holds on a GPU, with its slots. So many windows are encoded at a time, so many prompts computed, and so
# many windows encoded ahead of a free slot; with fewer slots, as many as there are.
_TOGETHER = 8
_SPARE_ROWS = 1  # beside the slots, which padding of a graph's batch writes to
_GRAPHS = 30  # of steps, prompts and encoder, by the size of their batches
_GRAPH_BYTES = 1_500_000
_FEATURES_AT_A_TIME = 25 * _MB  # of a recording, beside what the model holds

_OWN_SEGMENT_FROM = 10 * 2**20
_SEGMENT_STEP = 2 * 2**20

# A task's own slot; on a GPU a part of another, too, where a slot batch grows by doubling: of an engine that holds
# none, or one of several rows. On the CPU it has room for all slots from the start, and pages count only once they
# are written to. A task of more than one window also holds the cross-attention cache of its next one, which is encoded
# while one is decoded.
_SLOTS_PER_TASK: dict[DeviceKind, float] = {"cpu": 1.0, "cuda": 1.6}
_SLOTS_AHEAD: dict[DeviceKind, float] = {"cpu": 0.75, "cuda": 1.05}
_TASK_STATE = 8 * _MB  # features of a window, state of the token rules, text so far
# Text and checkpoints; the audio samples stay on disk. Measured (tiny.en): 1,000 s took 131 MB, 60 s 124.
_CPU_BYTES_PER_SECOND = 1_000

_ALIGNMENT_HEADS = 12  # openai-whisper's tables name 6 to 23 a model
_MEDIAN_FILTER_COPIES = 22  # windows of 7 values, their sorted copy, int64 indices


def weights_formula(model: ModelInfo, kind: DeviceKind) -> int:
    """What a resident model takes, second layouts included."""
    if model.precision == "int8":
        return _int8_weights(model)
    dims = model.dimensions
    embeddings = (dims.n_vocab + dims.n_text_ctx) * dims.n_text_state
    buffers = dims.n_audio_ctx * dims.n_audio_state + dims.n_text_ctx**2
    matrices = model.parameters - embeddings
    matrices += dims.n_text_layer * _SECOND_LAYOUTS[kind] * dims.n_text_state**2
    matrices += dims.n_audio_layer * _ENCODER_SECOND_LAYOUTS[kind] * dims.n_audio_state**2
    matrices += _VOCABULARIES[kind] * dims.n_vocab * dims.n_text_state
    rounding = _mlp_rounding(dims) if kind == "cuda" else 0
    return matrices * _MATRIX_BYTES[kind] + (embeddings + buffers) * _FP32 + rounding + _WEIGHTS_OVERHEAD


def _int8_weights(info: ModelInfo) -> int:
    """Packed matrices of both stacks and of the vocabulary; in fp16 the embedding, which a step reads rows of; in fp32
    the convolutions, layer norms, biases and position tables."""
    dims = info.dimensions
    encoder, decoder, vocabulary = dims.n_audio_layer, dims.n_text_layer, dims.n_vocab
    audio, text = dims.n_audio_state, dims.n_text_state
    embedding = vocabulary * text
    stacks = 12 * encoder * audio**2 + 16 * decoder * text**2
    outputs = 9 * encoder * audio + 13 * decoder * text + vocabulary
    buffers = dims.n_audio_ctx * audio + dims.n_text_ctx**2
    packed = (stacks + embedding) * _INT8_BYTES + outputs * _INT8_BYTES_PER_OUTPUT
    others = info.parameters - stacks - embedding + buffers
    return packed + embedding * _FP16 + others * _FP32 + _WEIGHTS_OVERHEAD


def held_formula(model: ModelInfo, kind: DeviceKind, slots: int) -> int:
    """What a model holds beyond its weights from the moment it is loaded until it leaves, with so many slots.

    Keys and values of the windows in slots and of those encoded ahead; of the text in the slots; noise to sample with
    and logits; what the encoder and the prompts work with, which CUDA graphs keep; the graphs. Nothing on the CPU.
    """
    if kind == "cpu":
        return 0
    dims = model.dimensions
    together = min(_TOGETHER, slots)
    a_position, logits = _position_bytes(dims, kind), dims.n_vocab * _FP32
    sound = (slots + together) * dims.n_audio_ctx * a_position
    text = (slots + _SPARE_ROWS) * dims.n_text_ctx * a_position
    choosing = slots * logits + _LOGITS_COPIES * (slots + together) * logits
    encoder = together * _encoder_bytes(dims, kind)
    a_layer = dims.n_audio_ctx * a_position // dims.n_text_layer  # gathered for the prompts' windows, layer by layer
    prompts = together * (_PROMPT_TENSORS * _LONGEST_PROMPT * dims.n_text_state * _MATRIX_BYTES[kind] + a_layer)
    return sound + text + choosing + int(encoder) + prompts + _WORKSPACE_OVERHEAD[kind] + _GRAPHS * _GRAPH_BYTES


def workspace_formula(model: ModelInfo, kind: DeviceKind, *, holds_slots: bool = True) -> int:
    """What a model's tasks share, however many run, beyond what it holds anyway: encoder, prompts, logits."""
    if kind == "cuda" and holds_slots:
        return _FEATURES_AT_A_TIME
    dims = model.dimensions
    encoder = _ENCODED_AT_ONCE[kind] * _encoder_bytes(dims, kind)
    prompt = _PROMPT_TENSORS * _LONGEST_PROMPT * dims.n_text_state * _MATRIX_BYTES[kind]
    logits = _LOGITS_COPIES * SLOTS[kind] * dims.n_vocab * _FP32
    return int(encoder) + prompt + logits + _WORKSPACE_OVERHEAD[kind]


def costs_formula(
    model: ModelInfo, kind: DeviceKind, *, word_timestamps: bool = False, holds_slots: bool = True
) -> Costs:
    """What tasks that run together take beyond their model's weights and what it holds.

    holds_slots: whether the engine's models hold slots on a GPU, as the batch engine's do.
    """
    dims = model.dimensions
    per_text, per_scores = _alignment(dims) if word_timestamps else (0, 0)
    shared = workspace_formula(model, kind, holds_slots=holds_slots)
    if kind == "cuda" and holds_slots:
        return Costs(shared, _TASK_STATE, per_second=0, per_longer=0, per_text=per_text, per_scores=per_scores)
    slot = slot_bytes(dims, kind)
    return Costs(
        shared=shared,
        per_task=_SLOTS_PER_TASK[kind] * slot + _ENCODED_PER_TASK[kind] * _encoder_bytes(dims, kind) + _TASK_STATE,
        per_second=_CPU_BYTES_PER_SECOND if kind == "cpu" else 0,
        per_longer=_SLOTS_AHEAD[kind] * slot,
        per_text=per_text,
        per_scores=per_scores,
    )


@lru_cache(maxsize=1024)
def beams_formula(model: ModelInfo, kind: DeviceKind, beams: int, *, holds_slots: bool = True) -> float:
    """What slots of several rows take beyond a plain slot: its text and logits in each row. beams: the rows; see
    TranscribeOptions.

    Where the model holds its slots, the rows read the window's sound where it is, and each has noise of its own.
    Elsewhere such a slot has the sound once more.
    """
    if not beams:
        return 0.0
    dims = model.dimensions
    a_position, logits = _position_bytes(dims, kind), dims.n_vocab * _FP32
    row = dims.n_text_ctx * a_position + _LOGITS_COPIES * logits
    if kind == "cuda" and holds_slots:
        return _SLOTS_PER_TASK[kind] * beams * (row + logits)
    return _SLOTS_PER_TASK[kind] * (dims.n_audio_ctx * a_position + beams * row)


def slot_bytes(dims: ModelDimensions, kind: DeviceKind) -> int:
    """Keys and values of one window: the cross-attention's for its sound, the self-attention's for its text."""
    return (dims.n_audio_ctx + dims.n_text_ctx) * _position_bytes(dims, kind)


def _position_bytes(dims: ModelDimensions, kind: DeviceKind) -> int:
    """Keys and values of one position, of the sound or of the text, in all of the decoder's layers."""
    return 2 * dims.n_text_layer * dims.n_text_state * _MATRIX_BYTES[kind]


def _encoder_bytes(dims: ModelDimensions, kind: DeviceKind) -> float:
    """What one window in the encoder takes."""
    return _ENCODER_TENSORS * dims.n_audio_ctx * dims.n_audio_state * _MATRIX_BYTES[kind]


def _mlp_rounding(dims: ModelDimensions) -> int:
    """What torch's CUDA allocator adds to the two matrices of every layer's MLP.

    From 10 MiB on each tensor gets a segment of its own, rounded up to 2 MiB; smaller ones share segments.
    """
    matrix = 4 * dims.n_text_state**2 * _MATRIX_BYTES["cuda"]
    layers = dims.n_audio_layer + dims.n_text_layer
    return 2 * layers * (-matrix % _SEGMENT_STEP) if matrix >= _OWN_SEGMENT_FROM else 0


def _alignment(dims: ModelDimensions) -> tuple[int, int]:
    """What the pass for word timestamps takes over a window that is full of sound and text; one is aligned at a time.

    First, in proportion to the text: the scores of all the decoder's layers, in fp32 on every device, and the logits
    twice. Second, in proportion to the sound, too: the alignment heads' scores on their way through the median filter,
    which is given the sound's part of the window only.
    """
    one_head = _LONGEST_PROMPT * dims.n_audio_ctx * _FP32
    text = dims.n_text_layer * dims.n_text_head * one_head + 2 * _LONGEST_PROMPT * dims.n_vocab * _FP32
    return text, _ALIGNMENT_HEADS * _MEDIAN_FILTER_COPIES * one_head
