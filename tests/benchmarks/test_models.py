"""Models that the benchmarks make themselves: faster-whisper's folders, and random weights of any dimensions."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from whisper.tokenizer import get_tokenizer

from benchmarks.faster_whisper_model import all_tokens, make_folder, model_config, tokenizer_description
from benchmarks.gpu_models import trial_dimensions
from benchmarks.openvino_folder import generation_config
from benchmarks.random_model import PROMPT, random_model
from benchmarks.whisper_cpp_model import BLOCK_TYPE, header, make_file, quantised, tensor_bytes
from errors import ModelUnavailableError
from whisper_core.models.catalogue import model_info
from whisper_core.models.load import load_model

TINY_EN = model_info("tiny.en")
BASE = model_info("base")


def test_every_token_has_its_name_and_number() -> None:
    tokens = all_tokens(BASE)
    assert len(set(tokens)) == len(tokens) == BASE.dimensions.n_vocab
    tokenizer = get_tokenizer(True, num_languages=99)
    expected = {tokenizer.eot: "<|endoftext|>", tokenizer.sot: "<|startoftranscript|>", 50363: "<|notimestamps|>"}
    assert {number: tokens[number] for number in expected} == expected
    assert tokens[-1] == "<|30.00|>"


def test_merges_lead_to_every_token() -> None:
    """In their order: both parts of a merge are there before it."""
    description = tokenizer_description(TINY_EN, all_tokens(TINY_EN))
    vocabulary = description["model"]["vocab"]
    known = {token for token in vocabulary if len(token) == 1}
    for merge in description["model"]["merges"]:
        left, right = merge.split(" ")
        assert {left, right} <= known
        known.add(left + right)
    assert known == set(vocabulary)


def test_suppressed_tokens_are_those_of_openai_whisper() -> None:
    """As in the published folder of tiny.en."""
    config = model_config(TINY_EN)
    assert config["suppress_ids"][:6] == [1, 2, 7, 8, 9, 10]
    assert config["suppress_ids_begin"] == [220, 50256]
    assert config["alignment_heads"] == [[1, 0], [2, 0], [2, 5], [3, 0], [3, 1], [3, 2], [3, 3], [3, 4]]


def test_whisper_cpp_gets_matrices_in_blocks_and_everything_else_as_it_was() -> None:
    values = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    data = tensor_bytes("a.weight", values)
    assert struct.unpack("<5i", data[:20]) == (2, 8, 8, 64, 3)  # dimensions, length of the name, q8_0, inner, outer
    assert data[20:28] == b"a.weight"
    blocks = np.frombuffer(data[28:], BLOCK_TYPE)
    found = (blocks["scale"].astype(np.float32)[:, None] * blocks["numbers"]).reshape(values.shape)
    steps = np.abs(values.reshape(-1, 32)).max(axis=1) / 127
    assert np.all(np.abs(found - values).reshape(-1, 32).max(axis=1) < 0.6 * steps)
    assert set(np.abs(blocks["numbers"]).max(axis=1)) == {127}
    assert tensor_bytes("a.bias", values[0])[-256:] == values[0].tobytes()
    assert tensor_bytes("a.positional_embedding", values)[8:12] == struct.pack("<i", 0)
    assert len(tensor_bytes("c.weight", values[:, :, None])) == 12 + 12 + 8 + 2 * values.size


@pytest.mark.models
def test_a_file_for_whisper_cpp_holds_every_tensor_and_nothing_else(models_dir: Path, tmp_path: Path) -> None:
    """Read as whisper.cpp reads it."""
    data = make_file("tiny.en", models_dir, tmp_path).read_bytes()
    n_mels, frequencies, tokens = *struct.unpack_from("<2i", data, 48), 50256
    at = 56 + 4 * n_mels * frequencies
    assert (n_mels, frequencies, *struct.unpack_from("<i", data, at)) == (80, 201, tokens)
    at += 4
    for _ in range(tokens):
        at += 4 + struct.unpack_from("<i", data, at)[0]
    names = set()
    while at < len(data):
        dimensions, length, kind = struct.unpack_from("<3i", data, at)
        shape = struct.unpack_from(f"<{dimensions}i", data, at + 12)
        at += 12 + 4 * dimensions
        names.add(data[at : at + length].decode())
        at += length + int(np.prod(shape) * {0: 4, 1: 2, 8: 34 / 32}[kind])
    assert at == len(data)
    assert names == set(load_model("tiny.en", models_dir, "cpu").state_dict())


def test_a_block_of_zeros_stays_zero() -> None:
    blocks = quantised(np.zeros((1, 32), dtype=np.float32))
    assert (blocks["scale"].tolist(), np.abs(blocks["numbers"]).max()) == ([0.0], 0)


def test_whisper_cpp_is_told_the_dimensions() -> None:
    assert struct.unpack("<12i", header(BASE.dimensions)) == (
        0x67676D6C, 51865, 1500, 512, 8, 6, 448, 512, 8, 6, 80, 2007,
    )  # fmt: skip


def test_openvino_is_told_the_tokens() -> None:
    """As in the published folders of base and tiny.en."""
    config = generation_config(BASE)
    assert config["task_to_id"] == {"transcribe": 50359, "translate": 50358}
    assert (config["lang_to_id"]["<|en|>"], config["lang_to_id"]["<|zh|>"], len(config["lang_to_id"])) == (
        50259, 50260, 99,
    )  # fmt: skip
    english = generation_config(TINY_EN)
    assert "lang_to_id" not in english
    assert [english[name] for name in ("decoder_start_token_id", "eos_token_id", "no_timestamps_token_id")] == [
        50257, 50256, 50362,
    ]  # fmt: skip


def test_a_model_that_no_package_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="small"):
        make_folder("small", tmp_path, tmp_path / "folders")


def test_a_random_model_says_its_number_of_tokens_in_every_window() -> None:
    model = random_model(trial_dimensions(), 7, "cpu")
    samples = torch.zeros(60 * 16_000)
    transcript = model.transcribe(samples, language="en", temperature=0.0, initial_prompt=PROMPT, fp16=False)
    assert [(segment["seek"], len(segment["tokens"])) for segment in transcript["segments"]] == [(0, 7), (3000, 7)]


def test_a_random_model_cannot_say_more_than_fits() -> None:
    with pytest.raises(ValueError, match="300 tokens"):
        random_model(trial_dimensions(), 300, "cpu")
