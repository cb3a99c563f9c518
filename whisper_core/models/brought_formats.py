"""Which of the folders and files in MODELS_DIR are meant to be models, by which names, and who reads each."""

from __future__ import annotations

import os
from pathlib import Path

from errors import UnusableModelError
from whisper_core.formats.brought_model import BroughtModel
from whisper_core.formats.ctranslate2 import is_ctranslate2, read_ctranslate2
from whisper_core.formats.ggml import SUFFIX as GGML
from whisper_core.formats.ggml import read_ggml
from whisper_core.formats.hugging_face import is_hugging_face, read_hugging_face
from whisper_core.formats.openai_checkpoint import SUFFIX as CHECKPOINT
from whisper_core.formats.openai_checkpoint import read_openai_checkpoint
from whisper_core.models.catalogue import MODELS

_SAFETENSORS, _GGUF = ".safetensors", ".gguf"
_SUFFIXES = (CHECKPOINT, GGML, _SAFETENSORS, _GGUF)
_FETCHED = ".ct2.bin"  # openai-whisper's weights from the package index
SPEAKERS_FOLDER = "speakers"  # speaker_weights.py keeps its files there
_OFFICIAL = {name for info in MODELS.values() for name in (info.file_name, f"{info.weights_name}.pt")}


def is_meant(path: Path) -> bool:
    """Whether somebody brought it as a model. openai-whisper's own files, and what a fetch has left, are none."""
    if path.name.startswith(".") or path.name == SPEAKERS_FOLDER:
        return False
    names = file_names(path)
    if names:
        return is_hugging_face(names) or is_ctranslate2(names) or bool(_single_files(path, names))
    return path.name not in _OFFICIAL and _is_model_file(path)


def name_of(path: Path) -> str:
    """A folder's name, or a file's without its kind."""
    return path.name if path.is_dir() else path.stem


def read_model(path: Path) -> BroughtModel:
    """Raises UnusableModelError."""
    names = file_names(path)
    if is_hugging_face(names):
        return read_hugging_face(path)
    if is_ctranslate2(names):
        return read_ctranslate2(path)
    files = _single_files(path, names) if path.is_dir() else [path]
    if len(files) > 1:
        raise UnusableModelError.because("layout", f"it holds {len(files)} models: give each a folder of its own")
    return _read_file(files[0])


def _read_file(path: Path) -> BroughtModel:
    if path.suffix == _SAFETENSORS:
        raise UnusableModelError.because("layout", "put it into a folder, as model.safetensors, beside its config.json")
    if path.suffix == _GGUF:
        raise UnusableModelError.because(
            "layout", "it is a GGUF file, and of whisper.cpp's formats only ggml (.bin) is read"
        )
    return read_ggml(path) if path.suffix == GGML else read_openai_checkpoint(path)


def _single_files(folder: Path, names: set[str]) -> list[Path]:
    """Those files in a folder that are a whole model each."""
    return [path for path in sorted(folder / name for name in names) if _is_model_file(path)]


def _is_model_file(path: Path) -> bool:
    return path.suffix in _SUFFIXES and not path.name.endswith(_FETCHED) and path.is_file()


def file_names(folder: Path) -> set[str]:
    """Empty unless it is a folder that can be read."""
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()
