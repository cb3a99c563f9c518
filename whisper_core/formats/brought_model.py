"""What is known of a model that somebody brought, once its files were looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.formats.safetensors_files import StoredTensor

AlignmentHeads = tuple[tuple[int, int], ...]  # layer and head


@dataclass(frozen=True)
class BroughtModel:
    dimensions: ModelDimensions  # n_vocab: without rows of the embedding that only fill it up
    tensors: Mapping[str, StoredTensor]  # by openai-whisper's names
    projection: StoredTensor | None  # to the vocabulary; it must be equal to the embedding, as openai-whisper's is
    alignment_heads: AlignmentHeads | None  # that the files name, for the times of words
    size_bytes: int
