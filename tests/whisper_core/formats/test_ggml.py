"""whisper.cpp's files: what is read of one, what is loaded of it, and every reason for which one is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from errors import UnusableModelError
from tests.whisper_core.ggml_files import KINDS, header, quantised, tensor_bytes, write_ggml
from tests.whisper_core.toy_model import toy_dimensions, toy_model
from whisper_core.formats.ggml import read_ggml
from whisper_core.models.ggml_blocks import dequantised
from whisper_core.models.load import load_model
from whisper_core.models.registry import ModelRegistry

DIMS = toy_dimensions()


@pytest.mark.parametrize(("kind", "most"), [("F16", 0.0), ("Q5_0", 0.2)])
def test_a_file_is_a_model_with_the_numbers_that_it_was_made_of(tmp_path: Path, kind: str, most: float) -> None:
    write_ggml(tmp_path / "ggml-mine.bin", kind=kind)
    assert ModelRegistry(tmp_path).info("ggml-mine-int8").dimensions == DIMS
    found, expected = load_model("ggml-mine", tmp_path, "cpu").state_dict(), toy_model().state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name].half(), tensor.half(), rtol=0, atol=most, msg=name)


@pytest.mark.parametrize("kind", KINDS[2:])
def test_blocks_are_turned_back_as_the_gguf_library_does(kind: str) -> None:
    values = np.random.default_rng(1).normal(size=(8, 96)).astype(np.float32)
    values[0] = 0
    blocks = quantised(values, kind)
    expected = gguf.dequantize(blocks, gguf.GGMLQuantizationType[kind])
    found = dequantised(bytearray(blocks.tobytes()), kind).reshape(values.shape)
    np.testing.assert_array_equal(found.numpy(), expected)


def reason_for(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(UnusableModelError) as caught:
        read_ggml(path)
    return caught.value.reason


ONE = tensor_bytes("encoder.conv1.weight", np.zeros((64, 80, 3)), "F16")


def first(*numbers: int) -> Callable[[bytes], bytes]:
    """The first tensor's rank, length of name, type and sizes."""
    return lambda data: data + struct.pack(f"<{len(numbers)}i", *numbers) + bytes(100)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: b"GGUF" + bytes(60), "no ggml file of whisper.cpp"),
        (lambda _: b"", "cut off"),
        (lambda data: data, "encoder.conv1.weight is missing"),
        (lambda data: data + ONE, "decoder.token_embedding.weight is missing"),
        (lambda data: data + ONE + ONE, "damaged at encoder.conv1.weight"),
        (lambda data: data[:200_000], "cut off"),
        (lambda data: data + ONE[:-1], "cut off"),
        (lambda data: data + ONE[:20], "cut off"),
        (first(4, 20, 1), "the head of a tensor"),
        (first(2, 100_000, 1), "the head of a tensor"),
        (first(2, 4, 1, -1, 5), "is damaged at"),
        (first(2, 4, 1, 2**31 - 1, 2**31 - 1), "cut off"),
        (first(2, 4, 12, 256, 1), "has the type 12 of ggml, and only F32, F16, Q4_0"),
        (first(2, 4, 8, 33, 1), "is damaged at"),
    ],
)
def test_nonsense_is_refused_without_trusting_a_length(
    tmp_path: Path, change: Callable[[bytes], bytes], reason: str
) -> None:
    assert reason in reason_for(tmp_path / "mine.bin", change(header(DIMS)))


def test_other_filters_and_vocabularies_are_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / "mine.bin", write_ggml(tmp_path / "whole.bin").read_bytes()
    tensors = whole[len(header(DIMS)) :]
    assert "mel filters are 80 × 257" in reason_for(path, header(DIMS, filters=(80, 257)) + tensors)
    assert "damaged at its vocabulary" in reason_for(path, header(DIMS, [b"x" * 2000]) + tensors)
    assert "token 0 is b'x' instead of b'!'" in reason_for(path, header(DIMS, [b"x"]) + tensors)
    assert "token 0 is missing" in reason_for(path, header(DIMS, []) + tensors)
    told = header(replace(DIMS, n_text_layer=3))
    assert "header says n_text_layer = 3, and its weights have 2" in reason_for(path, told + tensors)
