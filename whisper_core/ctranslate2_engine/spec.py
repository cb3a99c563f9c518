"""What the server has to know of the engine beforehand. Imports neither torch nor ctranslate2.

Measured with random weights on 2 cores (CTranslate2 4.8.5; growth of what the process held, in MB). Larger models
follow from how these grow; they were not measured.

| model | loaded | a window encoded | decoded after the longest prompt, beyond that | the pass for word timestamps |
|---|---|---|---|---|
| tiny | 184 | 124 | 20 | 83 |
| tiny-int8 | 75 | 124 | 34 | 111 |
| base-int8 | 113 | 149 | 61 | 136 |
| small | 1002 | 219 | 134 | 194 |
| small-int8 | 290 | 226 | 160 | 195 |
"""

from __future__ import annotations

from whisper_core.models.catalogue import ModelInfo
from whisper_core.worker.engine_spec import EngineSpec, MemoryNeeds

_MB = 1_000_000
_FP32 = 4
_BYTES_OF_PARAMETER = {"default": 4.0, "int8": 1.25}  # int8: with scales, and convolutions and positions in fp32
_WEIGHTS_OVERHEAD = 40 * _MB
_ENCODER, _ENCODER_OF_HEAD = 48 * _MB, 15 * _MB
_DECODER, _COPIES = 16 * _MB, 1.5  # logits and the prompt's pass; how often keys and values are there at once
_LONGEST_TEXT = 224  # tokens
_NUMBA = 60 * _MB  # compiled once words are aligned


def memory_needs(model: ModelInfo, kind: str) -> MemoryNeeds:
    dims = model.dimensions
    a_position = 2 * dims.n_text_layer * dims.n_text_state * _FP32
    sound, text = dims.n_audio_ctx * a_position, dims.n_text_ctx * a_position
    scores = dims.n_text_layer * dims.n_text_head * _LONGEST_TEXT * dims.n_audio_ctx * _FP32
    return MemoryNeeds(
        weights=model.parameters * _BYTES_OF_PARAMETER[model.precision] + _WEIGHTS_OVERHEAD,
        task=_ENCODER + dims.n_audio_head * _ENCODER_OF_HEAD + _DECODER + _COPIES * (sound + text),
        second=1_000,
        words=scores + _NUMBA,
        beam=text + sound / 2,
    )


CTRANSLATE2 = EngineSpec(
    "whisper_core.ctranslate2_engine.engine:Ctranslate2Engine",
    memory=memory_needs,
    has_int8_models=True,
    is_for_cpus_only=True,
    requires=("ctranslate2",),
    install="pip install -r requirements-ctranslate2.txt",
)
