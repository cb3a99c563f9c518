"""A Whisper with random weights, quick on a CPU.

Its vocabulary and window are the real ones, so that the long odd sequences it says reach every decoding rule.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
from whisper.model import ModelDimensions as WhisperDimensions
from whisper.model import Whisper

from whisper_core.formats.dimensions import ModelDimensions

TOY_STATE = 64
TOY_HEADS = 2
TOY_LAYERS = 2


def toy_dimensions(is_multilingual: bool = True) -> ModelDimensions:
    """Real mel bands, window and vocabulary; a narrow and shallow network."""
    return ModelDimensions(
        n_mels=80,
        n_audio_ctx=1500,
        n_audio_state=TOY_STATE,
        n_audio_head=TOY_HEADS,
        n_audio_layer=TOY_LAYERS,
        n_vocab=51865 if is_multilingual else 51864,
        n_text_ctx=448,
        n_text_state=TOY_STATE,
        n_text_head=TOY_HEADS,
        n_text_layer=TOY_LAYERS,
    )


def toy_model(seed: int = 0, is_multilingual: bool = True, dims: ModelDimensions | None = None) -> Whisper:
    """The same weights for the same seed, fp32 on the CPU, in eval mode; torch's global generator is left as it was.

    dims: other ones than the toy's usual."""
    dims = dims or toy_dimensions(is_multilingual)
    with torch.random.fork_rng(devices=[]):
        model = Whisper(WhisperDimensions(**asdict(dims)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.5 if "embedding" in name else 2.0 / parameter.shape[-1] ** 0.5
            if name.endswith(("ln.weight", "ln_post.weight")):
                parameter.fill_(1.0)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    heads = torch.zeros(dims.n_text_layer, dims.n_text_head, dtype=torch.bool)
    heads[-1, 0] = True
    model.register_buffer("alignment_heads", heads.to_sparse(), persistent=False)
    return model.eval()
