"""The table of models says what openai-whisper's says, and reading it needs no torch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from errors import UnknownModelError
from whisper_core.models.catalogue import MODEL_NAMES, MODELS, WEIGHTS_NAMES, model_info
from whisper_core.models.weight_files import locate


def test_names_addresses_and_checksums_are_openai_whispers() -> None:
    import whisper

    assert set(whisper._MODELS) == {*WEIGHTS_NAMES, "large", "large-v3-turbo"}
    for name, url in whisper._MODELS.items():
        assert model_info(name).url == url


@pytest.mark.parametrize("name", ["tiny.en", "tiny", "base"])
def test_dimensions_give_as_many_parameters_as_torch_counts(name: str) -> None:
    from whisper.model import ModelDimensions as WhisperDimensions
    from whisper.model import Whisper

    model = Whisper(WhisperDimensions(**asdict(MODELS[name].dimensions)))
    assert sum(parameter.numel() for parameter in model.parameters()) == MODELS[name].parameters


def test_a_files_size_is_that_of_its_fp16_numbers() -> None:
    for info in MODELS.values():
        dims = info.dimensions
        numbers = info.parameters + dims.n_audio_ctx * dims.n_audio_state
        assert 2 * numbers < info.size_bytes < 2 * numbers * 1.001


def test_names_are_listed_from_small_to_large_and_aliases_are_understood() -> None:
    assert [MODELS[name].parameters for name in MODEL_NAMES] == sorted(info.parameters for info in MODELS.values())
    assert (model_info("large").name, model_info("large-v3-turbo").name) == ("large-v3", "turbo")
    assert (model_info("large-int8").name, model_info("large-v3-turbo-int8").name) == ("large-v3-int8", "turbo-int8")
    assert [name for name in WEIGHTS_NAMES if not MODELS[name].is_multilingual] == [
        name for name in WEIGHTS_NAMES if name.endswith(".en")
    ]


def test_every_model_is_followed_by_its_int8_model_which_has_the_same_file() -> None:
    pairs = list(zip(MODEL_NAMES[::2], MODEL_NAMES[1::2], strict=True))
    assert pairs == [(name, f"{name}-int8") for name in WEIGHTS_NAMES]
    for published, packed in ((MODELS[name], MODELS[other]) for name, other in pairs):
        assert (published.precision, packed.precision) == ("default", "int8")
        assert (published.is_for_cpus_only, packed.is_for_cpus_only) == (False, True)
        assert packed.weights_name == published.weights_name == published.name
        assert replace(packed, name=published.name, precision="default") == published
        for attribute in ("file_name", "url", "parameters", "languages"):
            assert getattr(packed, attribute) == getattr(published, attribute)


@pytest.mark.parametrize("name", ["", "huge", "../tiny", "tiny.pt", "TINY", "tiny-int8-int8", "tiny-fp16", "-int8"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str, folder: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"tiny\.en, tiny, base.*, or of these with -int8 appended\."):
        model_info(name)
    with pytest.raises(UnknownModelError):
        locate(name, folder)


def test_importing_the_catalogue_and_the_decoder_imports_no_torch() -> None:
    code = (
        "import sys, whisper_core.models.fetch, whisper_core.audio.decode;"
        " print({'torch', 'whisper', 'numpy'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "set()"


def test_each_models_languages_are_openai_whispers() -> None:
    """Upstream computes their number from the size of the vocabulary (Whisper.num_languages)."""
    for name, info in MODELS.items():
        upstream = info.dimensions.n_vocab - 51765 - int(info.is_multilingual)
        assert len(info.languages) == (upstream if info.is_multilingual else 1), name
    assert "yue" in MODELS["large-v3"].languages
    assert "yue" not in MODELS["base"].languages
