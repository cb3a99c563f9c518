"""Models that the benchmarks make themselves: faster-whisper's folders, and random weights of any dimensions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from whisper.tokenizer import get_tokenizer

from benchmarks.cuda_all import parse_arguments, run, smoke_dimensions
from benchmarks.faster_whisper_model import all_tokens, make_folder, model_config, tokenizer_description
from benchmarks.gpu_speed import covered
from benchmarks.random_model import PROMPT, random_model
from errors import ModelUnavailableError
from whisper_core.models.catalogue import model_info

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


def test_a_model_that_no_package_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="small"):
        make_folder("small", tmp_path, tmp_path / "folders")


def test_a_random_model_says_its_number_of_tokens_in_every_window() -> None:
    model = random_model(smoke_dimensions(), 7, "cpu")
    samples = torch.zeros(60 * 16_000)
    transcript = model.transcribe(samples, language="en", temperature=0.0, initial_prompt=PROMPT, fp16=False)
    assert [(segment["seek"], len(segment["tokens"])) for segment in transcript["segments"]] == [(0, 7), (3000, 7)]


def test_a_random_model_cannot_say_more_than_fits() -> None:
    with pytest.raises(ValueError, match="300 tokens"):
        random_model(smoke_dimensions(), 300, "cpu")


def test_speed_and_memory_of_a_gpu_are_measured_without_one(tmp_path: Path) -> None:
    lines = run(parse_arguments(["--smoke", "--models", "turbo"]), tmp_path).splitlines()
    (two_tasks,) = (line for line in lines if line.startswith("| turbo, batch engine | 2 |"))
    assert " | 5 | " in two_tasks
    assert any(line.startswith("| turbo | 2 |") for line in lines)
    assert lines[-1].startswith("| tiny | 2 |")


def test_time_ranges_that_overlap_count_once() -> None:
    assert covered([(0, 4), (1, 2), (3, 6), (8, 9)]) == 7
