"""What is read of a Hugging Face folder before any weights are, and every reason for which one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from errors import UnusableModelError
from tests.whisper_core.brought_folders import MULTILINGUAL_TOKENS, toy_tensors, write_folder
from tests.whisper_core.toy_model import TOY_STATE, toy_dimensions
from whisper_core.formats.hugging_face import read_hugging_face
from whisper_core.formats.vocabulary import base_tokens, special_tokens

EMBEDDING = "decoder__token_embedding__weight"


def rows(count: int) -> torch.Tensor:
    return torch.zeros(count, TOY_STATE, dtype=torch.float16)


def tokenizer(**changes: Any) -> dict[str, Any]:
    """As a tokenizer.json of openai-whisper's multilingual models has it, as far as it is read."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + n) for n, byte in enumerate(others)}}
    words = {"".join(characters[byte] for byte in token): number for number, token in enumerate(base_tokens(True))}
    special = {**special_tokens(True, 99), **changes.pop("special", {})}
    added = [{"content": name, "id": number} for name, number in special.items()]
    return {"model": {"vocab": {**words, **changes.pop("words", {})}}, "added_tokens": added}


def reason_for(folder: Path) -> str:
    with pytest.raises(UnusableModelError) as caught:
        read_hugging_face(folder)
    return caught.value.reason


def test_a_folder_tells_its_dimensions_and_where_its_tensors_lie(tmp_path: Path) -> None:
    model = read_hugging_face(write_folder(tmp_path))
    assert model.dimensions == toy_dimensions()
    assert model.size_bytes == sum(tensor.nbytes for tensor in toy_tensors().values())
    assert model.alignment_heads is None


def test_a_distilled_model_has_fewer_decoder_layers_and_the_heads_of_another(tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in toy_tensors().items() if "decoder.layers.1." not in name}
    folder = write_folder(tmp_path, tensors, generation={"alignment_heads": [[1, 0], [0, 1]]})
    model = read_hugging_face(folder)
    assert model.dimensions == replace(toy_dimensions(), n_text_layer=1)
    assert model.alignment_heads is None


def test_the_heads_that_a_folder_names_are_taken(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, generation={"alignment_heads": [[0, 1], [1, 0]]})
    assert read_hugging_face(folder).alignment_heads == ((0, 1), (1, 0))


@pytest.mark.parametrize(
    "shape", [pytest.param([1] * 9, id="dimensions"), pytest.param([10**4000] * 1000, id="numbers without end")]
)
def test_a_shape_that_no_tensor_has_is_not_computed(tmp_path: Path, shape: list[int]) -> None:
    header = json.dumps({"a": {"dtype": "F16", "shape": shape, "data_offsets": [0, 2]}}).encode()
    folder = write_folder(tmp_path)
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"ab")
    assert reason_for(folder) == "model.safetensors is damaged at a"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json"])
def test_a_link_to_a_device_is_not_read(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path)
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("/dev/zero")
    if name == "config.json":
        assert reason_for(folder) == "config.json is no file"
    else:
        assert read_hugging_face(folder).dimensions == toy_dimensions()


@pytest.mark.parametrize("bands", [80, 128])
def test_the_mel_bands_are_those_of_the_first_convolution(tmp_path: Path, bands: int) -> None:
    convolution = torch.zeros(TOY_STATE, bands, 3, dtype=torch.float16)
    folder = write_folder(
        tmp_path, toy_tensors(encoder__conv1__weight=convolution), configuration={"num_mel_bins": bands}
    )
    assert read_hugging_face(folder).dimensions.n_mels == bands


def test_rows_that_only_fill_the_vocabulary_up_do_not_shift_the_timestamps(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, toy_tensors(**{EMBEDDING: rows(51_968)}), generation=MULTILINGUAL_TOKENS)
    assert read_hugging_face(folder).dimensions.n_vocab == 51_865


def test_an_english_and_a_hundred_language_vocabulary_are_told_by_their_tokens(tmp_path: Path) -> None:
    english = {"eos_token_id": 50256, "decoder_start_token_id": 50257, "no_timestamps_token_id": 50362}
    newest = {"eos_token_id": 50257, "decoder_start_token_id": 50258, "no_timestamps_token_id": 50364}
    for name, tokens, size in (("en", english, 51_864), ("v3", newest, 51_866)):
        folder = write_folder(tmp_path / name, toy_tensors(**{EMBEDDING: rows(52_000)}), generation=tokens)
        assert read_hugging_face(folder).dimensions.n_vocab == size


def test_a_tokenizer_that_is_openai_whispers_is_accepted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, generation=MULTILINGUAL_TOKENS, files={"tokenizer.json": tokenizer()})
    assert read_hugging_face(folder).dimensions == toy_dimensions()


def test_an_older_folder_has_its_weights_in_files_of_torch_save(tmp_path: Path) -> None:
    tensors, names = toy_tensors(), set(read_hugging_face(write_folder(tmp_path)).tensors)
    (tmp_path / "model.safetensors").unlink()
    tied = {**tensors, "proj_out.weight": tensors["model.decoder.embed_tokens.weight"]}
    torch.save(tied, tmp_path / "pytorch_model.bin")
    assert set(read_hugging_face(tmp_path).tensors) == names

    (tmp_path / "pytorch_model.bin").rename(tmp_path / "pytorch_model-1-of-1.bin")
    index = {"weight_map": dict.fromkeys(tensors, "pytorch_model-1-of-1.bin")}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert set(read_hugging_face(tmp_path).tensors) == names


def test_shards_are_found_by_their_index(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder, tensors = write_folder(tmp_path), toy_tensors()
    (folder / "model.safetensors").unlink()
    places = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(tensors)}
    for shard in set(places.values()):
        save_file({name: tensor for name, tensor in tensors.items() if places[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert read_hugging_face(folder).dimensions == toy_dimensions()

    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors is missing" in reason_for(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))
    assert "no safetensors file in the folder" in reason_for(folder)


CONFIGURATIONS = [
    ({"model_type": "wav2vec2"}, "of the kind 'wav2vec2'"),
    ({"decoder_layers": 12}, "decoder_layers = 12, and its weights have 2"),
    ({"encoder_attention_heads": 7}, "heads do not divide"),
    ({"d_model": "wide"}, "d_model is 'wide' instead of a number"),
    ({"scale_embedding": True}, "computes otherwise"),
    ({"quantization_config": {"bits": 8}}, "quantised"),
]


@pytest.mark.parametrize(("entries", "reason"), CONFIGURATIONS)
def test_a_configuration_that_contradicts_is_refused(tmp_path: Path, entries: dict[str, Any], reason: str) -> None:
    assert reason in reason_for(write_folder(tmp_path, configuration=entries))


TENSORS: list[tuple[Callable[[], dict[str, torch.Tensor]], str]] = [
    (lambda: toy_tensors(encoder__conv2__bias=None), "encoder.conv2.bias is missing, and 0 more"),
    (lambda: toy_tensors(decoder__extra__weight=torch.zeros(1)), "decoder.extra.weight and 0 more are no tensors"),
    (lambda: toy_tensors(encoder__conv2__bias=torch.zeros(3)), "encoder.conv2.bias is (3,) instead of (64,)"),
    (lambda: {**toy_tensors(), "proj_out.weight": torch.zeros(7, TOY_STATE)}, "proj_out.weight is (7, 64)"),
    (lambda: toy_tensors(encoder__conv2__bias=torch.zeros(64, dtype=torch.int8)), "stored as I8, and only"),
    (lambda: toy_tensors(**{EMBEDDING: rows(51_000)}), "51000 tokens"),
    (lambda: {"weight": torch.zeros(3)}, "this is no Whisper"),
]


@pytest.mark.parametrize(("tensors", "reason"), TENSORS)
def test_weights_that_are_no_whispers_are_refused(
    tmp_path: Path, tensors: Callable[[], dict[str, torch.Tensor]], reason: str
) -> None:
    assert reason in reason_for(write_folder(tmp_path, tensors()))


TOKENS = [
    ({**MULTILINGUAL_TOKENS, "no_timestamps_token_id": 50370}, "openai-whisper's 99 or 100"),
    ({**MULTILINGUAL_TOKENS, "eos_token_id": 20_480}, "20480 tokens of text"),
    ({**MULTILINGUAL_TOKENS, "task_to_id": {"transcribe": 50360}}, "its token <|transcribe|> is 50360"),
    ({**MULTILINGUAL_TOKENS, "lang_to_id": {"<|xx|>": 50400}}, "openai-whisper has no such token"),
]


@pytest.mark.parametrize(("generation", "reason"), TOKENS)
def test_other_special_tokens_are_refused(tmp_path: Path, generation: dict[str, Any], reason: str) -> None:
    assert reason in reason_for(write_folder(tmp_path, generation=generation))


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    own_words = {"tokenizer.json": tokenizer(words={"own": 7})}
    assert "its tokenizer is not openai-whisper's: token 7" in reason_for(write_folder(tmp_path, files=own_words))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    weights = write_folder(tmp_path) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    assert "cut off" in reason_for(tmp_path)
    weights.write_bytes(whole[:100])
    assert "no safetensors file, or not all of it" in reason_for(tmp_path)
    weights.write_bytes((8).to_bytes(8, "little") + b"notjson!")
    assert "no safetensors file" in reason_for(tmp_path)
    weights.write_bytes(b"")
    assert "no safetensors file" in reason_for(tmp_path)
    weights.write_bytes(whole)
    (tmp_path / "config.json").write_text("{")
    assert "config.json is not JSON" in reason_for(tmp_path)
    (tmp_path / "config.json").unlink()
    assert "config.json cannot be read" in reason_for(tmp_path)


@pytest.mark.parametrize(
    ("file_name", "reason"),
    [("pytorch_model.bin", "not written by a current torch.save"), ("adapter_config.json", "merge it into its model")],
)
def test_folders_without_safetensors_say_what_to_do(tmp_path: Path, file_name: str, reason: str) -> None:
    (tmp_path / file_name).write_text("{}")
    assert reason in reason_for(tmp_path)
