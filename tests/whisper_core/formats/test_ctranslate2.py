"""CTranslate2's folders: what is read of one, what is loaded of it, and every reason for which one is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from errors import UnusableModelError
from tests.whisper_core.ctranslate2_files import (
    Variables,
    quantised,
    toy_state,
    toy_variables,
    write_converted_folder,
    write_ct2,
)
from tests.whisper_core.toy_model import TOY_STATE, toy_dimensions
from whisper_core.formats.ctranslate2 import read_ctranslate2
from whisper_core.formats.vocabulary import special_tokens
from whisper_core.models.load import load_model
from whisper_core.models.registry import ModelRegistry


def test_a_folder_is_a_model_with_the_dimensions_and_heads_that_it_tells(tmp_path: Path) -> None:
    write_converted_folder(tmp_path / "mine")
    assert ModelRegistry(tmp_path).info("mine").dimensions == toy_dimensions()
    model = load_model("mine", tmp_path, "cpu")
    assert model.alignment_heads.to_dense().tolist() == [[False, False], [False, True]]
    for name, tensor in toy_state().items():
        torch.testing.assert_close(model.state_dict()[name], tensor.float(), rtol=0, atol=0)


def test_quantised_weights_are_those_within_a_step_of_each_row(tmp_path: Path) -> None:
    write_converted_folder(tmp_path / "mine", quantised(toy_variables()))
    found, original = load_model("mine", tmp_path, "cpu").state_dict(), toy_state()
    for name, tensor in original.items():
        rows = tensor.float().reshape(len(tensor), -1)
        step = rows.abs().amax(dim=1, keepdim=True) / 127 if tensor.dim() > 1 else torch.zeros(1)
        assert bool(((found[name].reshape(rows.shape) - rows).abs() <= 0.51 * step).all()), name


def test_numbers_of_sixteen_bits_have_one_scale(tmp_path: Path) -> None:
    variables, name = toy_variables(), "decoder/layer_0/ffn/linear_0/weight"
    scale = np.array(1000, dtype="<f4")
    numbers = np.rint(variables[name].astype("<f4") * scale).astype("<i2")
    write_converted_folder(tmp_path / "mine", {**variables, name: numbers, f"{name}_scale": scale})
    found = load_model("mine", tmp_path, "cpu").state_dict()["decoder.blocks.0.mlp.0.weight"]
    torch.testing.assert_close(found, toy_state()["decoder.blocks.0.mlp.0.weight"].float(), rtol=0, atol=0.00051)


def test_the_vocabulary_beside_it_tells_what_only_fills_it_up(tmp_path: Path) -> None:
    embedding = np.zeros((51_968, TOY_STATE), dtype="<f2")
    folder = write_converted_folder(tmp_path, {**toy_variables(), "decoder/embeddings/weight": embedding})
    assert read_ctranslate2(folder).dimensions == toy_dimensions()
    newest = write_converted_folder(
        tmp_path, {**toy_variables(), "decoder/embeddings/weight": embedding}, lang_ids=list(range(50259, 50359))
    )
    assert read_ctranslate2(newest).dimensions == replace(toy_dimensions(), n_vocab=51_866)


def test_other_words_in_its_vocabulary_are_refused(tmp_path: Path) -> None:
    names = {number: name for name, number in special_tokens(True, 99).items()}
    words = [names.get(number, f"word{number}") for number in range(51_865)]
    (write_converted_folder(tmp_path) / "vocabulary.txt").write_text("\n".join(words))
    with pytest.raises(UnusableModelError, match="token 0 is b'word0'"):
        read_ctranslate2(tmp_path)


def without(name: str) -> Callable[[Variables], Variables]:
    return lambda variables: {each: array for each, array in variables.items() if each != name}


def having(name: str, array: Any) -> Callable[[Variables], Variables]:
    return lambda variables: {**variables, name: array}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("encoder/conv1/bias"), r"encoder\.conv1\.bias is missing"),
        (having("decoder/extra/weight", np.zeros((2, 2), "<f2")), "decoder/extra/weight is no variable"),
        (having("encoder/conv1/bias", np.zeros(TOY_STATE, np.int8)), "stored as I8 without its scale"),
        (having("encoder/layer_0/self_attention/linear_0/bias", np.zeros(7, "<f2")), r"has the shape \(7,\)"),
    ],
)
def test_weights_that_are_no_whispers_are_refused(
    tmp_path: Path, change: Callable[[Variables], Variables], reason: str
) -> None:
    write_converted_folder(tmp_path, change(toy_variables()))
    with pytest.raises(UnusableModelError, match=reason):
        read_ctranslate2(tmp_path)


def test_a_bias_for_keys_is_refused(tmp_path: Path) -> None:
    name = "encoder/layer_0/self_attention/linear_0/bias"
    write_converted_folder(tmp_path / "mine", {**toy_variables(), name: np.ones(3 * TOY_STATE, "<f2")})
    with pytest.raises(UnusableModelError, match="a bias for keys"):
        load_model("mine", tmp_path, "cpu")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    weights = write_converted_folder(tmp_path) / "model.bin"
    whole = weights.read_bytes()
    for size, reason in ((len(whole) // 2, "cut off"), (5, "cut off"), (0, "cut off")):
        weights.write_bytes(whole[:size])
        with pytest.raises(UnusableModelError, match=reason):
            read_ctranslate2(tmp_path)
    write_ct2(weights, toy_variables(), kind="TransformerSpec")
    with pytest.raises(UnusableModelError, match="no Whisper of CTranslate2"):
        read_ctranslate2(tmp_path)
