"""A Whisper of given dimensions with random weights that says a fixed number of tokens in every window.

For speed only, where the real weights cannot be had. It holds for every engine that keeps openai-whisper's rules, since
the weights see to it: one entry of the decoder's state is the same everywhere and keeps all tokens but text's unlikely;
another is zero up to one position and large from there on, and makes the end token likely. That position is the same in
every window when the prompt is full, so transcribe with PROMPT, in English, at temperature 0 only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import torch
from whisper.model import ModelDimensions as WhisperDimensions
from whisper.model import Whisper
from whisper.tokenizer import get_tokenizer

from whisper_core.formats.dimensions import ModelDimensions
from whisper_core.text.options import TranscribeOptions

PROMPT = " one two three four" * 75  # more than the 223 tokens that openai-whisper keeps
OPTIONS = TranscribeOptions(language="en", temperature=0.0, initial_prompt=PROMPT)

CONSTANT, POSITION = 0, 1  # entries of the decoder's state
SELDOM = -50.0  # logit of what is no text
ENDING = 20.0
SIGNAL = 100.0  # far above the other entries of the state


def random_model(dimensions: ModelDimensions, tokens_per_window: int, device: str, seed: int = 0) -> Whisper:
    """fp32, eval mode. tokens_per_window: with the timestamp that comes first, without the end token."""
    with torch.random.fork_rng(), torch.device(device), torch.no_grad():
        torch.manual_seed(seed)
        model = Whisper(WhisperDimensions(**asdict(dimensions)))
        model.decoder.token_embedding.weight.normal_(std=0.05)
        model.decoder.positional_embedding.normal_(std=0.01)
        _make_it_stop(model, tokens_per_window)
    return model.eval()


@contextmanager
def loaded_from_memory(engine: str, models: Mapping[str, Whisper]) -> Iterator[None]:
    """Let an engine (MODULE:CLASS) load copies of `models` instead of files."""

    def load_model(name: str, models_dir: Path, device: str) -> Whisper:
        return deepcopy(models[name]).to(device)

    with patch.object(import_module(engine.partition(":")[0]), "load_model", load_model):
        yield


def _make_it_stop(model: Whisper, tokens_per_window: int) -> None:
    decoder = model.decoder
    tokenizer = get_tokenizer(
        model.is_multilingual, num_languages=model.num_languages, language="en", task="transcribe"
    )
    full_prompt = 1 + model.dims.n_text_ctx // 2 - 1 + len(tokenizer.sot_sequence)
    ends_at = full_prompt - 1 + tokens_per_window
    if ends_at >= model.dims.n_text_ctx:
        raise ValueError(f"a window cannot have {tokens_per_window} tokens behind a full prompt")
    embedding = decoder.token_embedding.weight
    decoder.ln.weight[CONSTANT], decoder.ln.bias[CONSTANT] = 0.0, 1.0
    embedding[:, CONSTANT] = 0.0
    embedding[tokenizer.eot :, CONSTANT] = SELDOM
    for block in decoder.blocks:
        for last in (block.attn.out, block.cross_attn.out, block.mlp[2]):
            last.weight[POSITION], last.bias[POSITION] = 0.0, 0.0
    embedding[:, POSITION] = 0.0
    embedding[tokenizer.eot, POSITION] = ENDING
    decoder.positional_embedding[:, POSITION] = 0.0
    decoder.positional_embedding[ends_at:, POSITION] = SIGNAL
