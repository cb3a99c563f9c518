"""Models that people bring: how they appear, change and vanish, and what is loaded of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import whisper

from errors import UnknownModelError, UnusableModelError
from tests.whisper_core.brought_folders import MULTILINGUAL_TOKENS, toy_tensors, write_folder
from tests.whisper_core.checkpoint_files import write_checkpoint
from tests.whisper_core.toy_model import TOY_STATE, toy_model
from whisper_core.formats.brought_model import BroughtModel
from whisper_core.formats.hugging_face import read_hugging_face
from whisper_core.models.brought import read_brought
from whisper_core.models.catalogue import MODELS
from whisper_core.models.load import load_model
from whisper_core.models.registry import ModelRegistry


def names_in(registry: ModelRegistry) -> list[str]:
    return [info.name for info in registry.models() if info.is_brought]


def test_a_folder_appears_and_vanishes_by_itself(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path)
    assert names_in(registry) == []
    folder = write_folder(tmp_path / "kotoba")
    assert names_in(registry) == ["kotoba", "kotoba-int8"]
    assert registry.info("kotoba-int8").precision == "int8"
    assert registry.info("kotoba").is_multilingual
    assert registry.problem("kotoba") is None

    folder.rename(tmp_path / "other")
    assert names_in(registry) == ["other", "other-int8"]
    with pytest.raises(UnknownModelError, match="Also here: other"):
        registry.info("kotoba")
    assert "not in MODELS_DIR" in (registry.problem("kotoba") or "")
    assert registry.known("kotoba").dimensions == registry.info("other").dimensions


def test_a_model_that_was_never_seen_counts_as_the_largest_one(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path)
    assert registry.known("gone-int8").dimensions == MODELS["large-v3"].dimensions
    assert registry.known("gone-int8").precision == "int8"


def test_headers_are_read_again_only_when_the_files_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    changed: list[str] = []

    def read_and_note(folder: Path) -> BroughtModel:
        read.append(folder.name)
        return read_hugging_face(folder)

    monkeypatch.setattr("whisper_core.models.brought_formats.read_hugging_face", read_and_note)
    registry = ModelRegistry(tmp_path)
    registry.add_listener(changed.append)
    weights = write_folder(tmp_path / "mine") / "model.safetensors"
    for _ in range(3):
        registry.models()
    assert (read, changed) == (["mine"], [])
    os.utime(weights, ns=(1, 1))
    assert registry.info("mine").identity == registry.info("mine-int8").identity
    assert (read, changed) == (["mine", "mine"], ["mine", "mine-int8"])


def test_broken_folders_are_told_with_their_reason_and_others_ignored(tmp_path: Path) -> None:
    write_folder(tmp_path / "good")
    write_folder(tmp_path / "tiny")
    write_folder(tmp_path / "a-int8")
    write_folder(tmp_path / "two words")
    (write_folder(tmp_path / "cut") / "model.safetensors").write_bytes(b"1")
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "base.ct2.bin").write_bytes(b"")
    registry = ModelRegistry(tmp_path)
    broken = {each.name: each.reason for each in registry.broken_models()}
    assert [each.fault for each in registry.broken_models()] == ["name", "damaged", "name", "name"]
    assert names_in(registry) == ["good", "good-int8"]
    assert list(broken) == ["a-int8", "cut", "tiny", "two words"]
    assert broken["tiny"] == "It cannot be used: openai-whisper has a model of that name: rename the folder."
    assert not registry.info("tiny").is_brought
    with pytest.raises(UnknownModelError, match=r"cut cannot be used: model\.safetensors is no safetensors file"):
        registry.info("cut-int8")
    assert registry.problem("cut") == broken["cut"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_tensors_are_loaded_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in toy_tensors().items()}
    write_folder(
        tmp_path / "mine", {**tensors, "proj_out.weight": tensors["model.decoder.embed_tokens.weight"].clone()}
    )
    model = load_model("mine", tmp_path, "cpu")
    expected = {name: tensor.half().float() for name, tensor in toy_model().state_dict().items()}
    assert set(model.state_dict()) == set(expected)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
    assert not model.training
    assert model.alignment_heads.to_dense().tolist() == [[False, False], [True, True]]


def test_a_padded_vocabulary_is_cut_and_an_int8_model_keeps_fp16_matrices(tmp_path: Path) -> None:
    embedding = toy_tensors()["model.decoder.embed_tokens.weight"]
    padded = torch.cat([embedding, torch.ones(7, TOY_STATE, dtype=torch.float16)])
    write_folder(
        tmp_path / "mine",
        toy_tensors(decoder__token_embedding__weight=padded, encoder__positional_embedding=None),
        generation={**MULTILINGUAL_TOKENS, "alignment_heads": [[1, 0]]},
    )
    model = load_model("mine-int8", tmp_path, "cpu")
    found = model.state_dict()["decoder.token_embedding.weight"]
    torch.testing.assert_close(found, embedding, rtol=0, atol=0)
    assert found.dtype == torch.float16
    assert model.num_languages == 99
    assert model.alignment_heads.to_dense().tolist() == [[False, False], [True, False]]


@pytest.mark.parametrize(("value", "reason"), [(float("nan"), "no numbers"), (1e6, "above 65504")])
def test_weights_that_are_no_usable_numbers_are_refused(tmp_path: Path, value: float, reason: str) -> None:
    bias = torch.full((TOY_STATE,), value)
    write_folder(tmp_path / "mine", toy_tensors(encoder__conv2__bias=bias))
    with pytest.raises(UnusableModelError, match=reason):
        load_model("mine", tmp_path, "cpu")


def test_a_projection_of_its_own_is_refused(tmp_path: Path) -> None:
    tensors = toy_tensors()
    write_folder(tmp_path / "mine", {**tensors, "proj_out.weight": tensors["model.decoder.embed_tokens.weight"] + 1})
    with pytest.raises(UnusableModelError, match="not equal to the embedding"):
        load_model("mine", tmp_path, "cpu")


def test_a_model_that_is_gone_is_no_fault_of_its_task(tmp_path: Path) -> None:
    for name in ("gone", "gone-int8", "../gone"):
        with pytest.raises(UnknownModelError, match="not in MODELS_DIR"):
            load_model(name, tmp_path, "cpu")


def test_a_file_that_is_cut_while_it_is_read_ends_the_load_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = write_folder(tmp_path / "mine") / "model.safetensors"

    def read_and_cut(name: str, models_dir: Path) -> BroughtModel:
        model = read_brought(name, models_dir)
        os.truncate(weights, weights.stat().st_size // 2)
        return model

    monkeypatch.setattr("whisper_core.models.load.read_brought", read_and_cut)
    with pytest.raises(UnusableModelError, match="cut off"):
        load_model("mine", tmp_path, "cpu")


@pytest.mark.parametrize(("name", "dtype"), [("mine", torch.float32), ("mine-int8", torch.float16)])
def test_a_file_of_openai_whispers_format_is_loaded_as_openai_whisper_loads_it(
    tmp_path: Path, name: str, dtype: torch.dtype
) -> None:
    path = write_checkpoint(tmp_path / "mine.pt", dtype=dtype)
    assert names_in(ModelRegistry(tmp_path)) == ["mine", "mine-int8"]
    found, expected = load_model(name, tmp_path, "cpu"), whisper.load_model(str(path), device="cpu")
    assert set(found.state_dict()) == set(expected.state_dict())
    for key, tensor in found.state_dict().items():
        torch.testing.assert_close(tensor, expected.state_dict()[key].to(tensor.dtype), rtol=0, atol=0)
    assert found.alignment_heads.to_dense().tolist() == expected.alignment_heads.to_dense().tolist()
    write_checkpoint(path, alignment_heads=[[0, 1]])
    assert load_model(name, tmp_path, "cpu").alignment_heads.to_dense().tolist() == [[False, True], [False, False]]


def test_files_are_models_by_their_names_without_their_kind(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "one.v2.pt")
    for name in ("two/checkpoint.pt", "three/a.pt", "three/b.pt", "tiny.en.pt", "large-v3-turbo.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        os.link(tmp_path / "one.v2.pt", tmp_path / name)
    for name in (
        "one.v2.safetensors",
        "whole.safetensors",
        "a.gguf",
        "model.bin",
        "base.ct2.bin",
        "b.pt.part",
        "c.txt",
    ):
        (tmp_path / name).write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.pt")
    registry = ModelRegistry(tmp_path)
    assert names_in(registry) == ["one.v2", "one.v2-int8", "two", "two-int8"]
    assert {each.name: each.reason.removeprefix("It cannot be used: ") for each in registry.broken_models()} == {
        "one.v2.safetensors": "there is another model of the name one.v2: rename the file.",
        "a": "it is a GGUF file, and of whisper.cpp's formats only ggml (.bin) is read.",
        "model": "model.bin is cut off: not all of its weights are there.",
        "three": "it holds 2 models: give each a folder of its own.",
        "whole": "put it into a folder, as model.safetensors, beside its config.json.",
    }
