"""A model's dimensions, and the tensors that a model of such dimensions has, by openai-whisper's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from errors import UnusableModelError

Shape = tuple[int, ...]

WINDOW_POSITIONS = 1500  # the encoder's outputs for 30 seconds
HEAD_SIZE = 64  # of every published Whisper
MEL_BANDS = (80, 128)  # that openai-whisper has filters for
MOST_TEXT_POSITIONS = 448
MOST_LAYERS, LARGEST_STATE = 64, 4096  # twice the largest published model's
EMBEDDING_TENSOR = "decoder.token_embedding.weight"
ENCODER_POSITIONS = "encoder.positional_embedding"  # sinusoids: a file may leave them out


@dataclass(frozen=True)
class ModelDimensions:
    """Named as in openai-whisper: `whisper.model.ModelDimensions(**asdict(self))` is upstream's object."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int


def tensor_shapes(dims: ModelDimensions) -> dict[str, Shape]:
    """Every tensor of a Whisper with these dimensions."""
    audio, text = dims.n_audio_state, dims.n_text_state
    shapes: dict[str, Shape] = {
        "encoder.conv1.weight": (audio, dims.n_mels, 3),
        "encoder.conv1.bias": (audio,),
        "encoder.conv2.weight": (audio, audio, 3),
        "encoder.conv2.bias": (audio,),
        ENCODER_POSITIONS: (dims.n_audio_ctx, audio),
        EMBEDDING_TENSOR: (dims.n_vocab, text),
        "decoder.positional_embedding": (dims.n_text_ctx, text),
        **_norm("encoder.ln_post", audio),
        **_norm("decoder.ln", text),
    }
    for layer in range(dims.n_audio_layer):
        shapes.update(_block(f"encoder.blocks.{layer}", audio))
    for layer in range(dims.n_text_layer):
        shapes.update(_block(f"decoder.blocks.{layer}", text))
        shapes.update(_attention(f"decoder.blocks.{layer}.cross_attn", text))
    return shapes


def dimensions_of(
    shapes: Mapping[str, Shape], *, audio_heads: int | None = None, text_heads: int | None = None
) -> ModelDimensions:
    """The dimensions of the model that has exactly these tensors.

    audio_heads, text_heads: as the files tell them, for no shape does; None: heads of 64, as in all published models.
    Raises UnusableModelError, which names what is missing, wrong or too much.
    """
    audio, mels, _ = _shape(shapes, "encoder.conv1.weight", 3)
    vocabulary, text = _shape(shapes, EMBEDDING_TENSOR, 2)
    text_positions, _ = _shape(shapes, "decoder.positional_embedding", 2)
    positions = _shape(shapes, ENCODER_POSITIONS, 2)[0] if ENCODER_POSITIONS in shapes else WINDOW_POSITIONS
    dims = ModelDimensions(
        n_mels=mels,
        n_audio_ctx=positions,
        n_audio_state=audio,
        n_audio_head=audio // HEAD_SIZE if audio_heads is None else audio_heads,
        n_audio_layer=_layers(shapes, "encoder.blocks."),
        n_vocab=vocabulary,
        n_text_ctx=text_positions,
        n_text_state=text,
        n_text_head=text // HEAD_SIZE if text_heads is None else text_heads,
        n_text_layer=_layers(shapes, "decoder.blocks."),
    )
    _check(dims)
    _compare(shapes, tensor_shapes(dims))
    return dims


def _check(dims: ModelDimensions) -> None:
    """Raises UnusableModelError when the engines cannot compute such a model."""
    wrong = None
    if dims.n_mels not in MEL_BANDS:
        wrong = f"it hears {dims.n_mels} mel bands, and only 80 or 128 are possible"
    elif dims.n_audio_ctx != WINDOW_POSITIONS:
        wrong = f"its window has {dims.n_audio_ctx} positions, and Whisper's 30 seconds have {WINDOW_POSITIONS}"
    elif not 8 <= dims.n_text_ctx <= MOST_TEXT_POSITIONS:
        wrong = f"its text has {dims.n_text_ctx} positions, and at most {MOST_TEXT_POSITIONS} are possible"
    elif dims.n_audio_state != dims.n_text_state:
        wrong = f"its encoder is {dims.n_audio_state} wide and its decoder {dims.n_text_state}"
    elif dims.n_audio_state > LARGEST_STATE or max(dims.n_audio_layer, dims.n_text_layer) > MOST_LAYERS:
        wrong = f"it is larger than this server computes ({dims.n_audio_state} wide, {dims.n_audio_layer} layers)"
    elif not (_divides(dims.n_audio_head, dims.n_audio_state) and _divides(dims.n_text_head, dims.n_text_state)):
        wrong = f"{dims.n_audio_head} and {dims.n_text_head} attention heads do not divide its {dims.n_audio_state}"
    if wrong is not None:
        raise UnusableModelError.because("network", wrong)


def _divides(heads: int, state: int) -> bool:
    return heads > 0 and state % heads == 0 and (state // heads) % 2 == 0


def _compare(found: Mapping[str, Shape], wanted: Mapping[str, Shape]) -> None:
    missing = sorted(set(wanted) - set(found) - {ENCODER_POSITIONS})
    if missing:
        raise UnusableModelError.because("network", f"the tensor {missing[0]} is missing, and {len(missing) - 1} more")
    surplus = sorted(set(found) - set(wanted))
    if surplus:
        raise UnusableModelError.because(
            "network", f"{surplus[0][:80]} and {len(surplus) - 1} more are no tensors of a Whisper"
        )
    for name, shape in found.items():
        if shape != wanted[name]:
            raise UnusableModelError.because("network", f"the tensor {name} is {shape} instead of {wanted[name]}")


def _shape(shapes: Mapping[str, Shape], name: str, rank: int) -> Shape:
    shape = shapes.get(name)
    if shape is None:
        raise UnusableModelError.because(
            "network", f"the tensor {name} is missing, so this is no Whisper, or not all of it"
        )
    if len(shape) != rank or min(shape) < 1:
        raise UnusableModelError.because("network", f"the tensor {name} has the shape {shape}")
    return shape


def _layers(shapes: Mapping[str, Shape], prefix: str) -> int:
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in shapes if name.startswith(prefix)}
    return len(numbers)


def _norm(name: str, state: int) -> dict[str, Shape]:
    return {f"{name}.weight": (state,), f"{name}.bias": (state,)}


def _attention(name: str, state: int) -> dict[str, Shape]:
    matrices: dict[str, Shape] = {f"{name}.{part}.weight": (state, state) for part in ("query", "key", "value", "out")}
    biases: dict[str, Shape] = {f"{name}.{part}.bias": (state,) for part in ("query", "value", "out")}
    return {**matrices, **biases, **_norm(f"{name}_ln", state)}


def _block(name: str, state: int) -> dict[str, Shape]:
    return {
        **_attention(f"{name}.attn", state),
        f"{name}.mlp.0.weight": (4 * state, state),
        f"{name}.mlp.0.bias": (4 * state,),
        f"{name}.mlp.2.weight": (state, 4 * state),
        f"{name}.mlp.2.bias": (state,),
        **_norm(f"{name}.mlp_ln", state),
    }
