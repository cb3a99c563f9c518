"""A folder that OpenVINO GenAI's WhisperPipeline can load, made from this project's weights.

What it would find on a model hub is made here: the configuration from openai-whisper's vocabulary, and the models from
the weights, in the peers' environment (openvino_graphs.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.child_process import ROOT
from benchmarks.faster_whisper_model import (
    alignment_heads,
    all_tokens,
    model_config,
    tokenizer_description,
    tokenizer_of,
)
from whisper_core.models.catalogue import ModelInfo, model_info
from whisper_core.models.load import load_model


def make_folder(model: str, models_dir: Path, folder: Path, python: str) -> Path:
    """`folder`/`model` with everything in it. python: of the peers' environment. Raises what load_model raises, and
    CalledProcessError."""
    info = model_info(model)
    target = folder / model
    target.mkdir(parents=True, exist_ok=True)
    state = load_model(model, models_dir, "cpu").state_dict()
    np.savez(target / "weights.npz", **{name: tensor.to(torch.float32).numpy() for name, tensor in state.items()})
    _write(target / "tokenizer.json", tokenizer_description(info, all_tokens(info)))
    _write(target / "config.json", {"model_type": "whisper", "max_source_positions": info.dimensions.n_audio_ctx})
    _write(target / "preprocessor_config.json", feature_config(info))
    _write(target / "generation_config.json", generation_config(info))
    command = [python, "-m", "benchmarks.openvino_graphs", str(target)]
    subprocess.run(command, check=True, cwd=ROOT, stdout=sys.stderr)  # NNCF tells what it does; tables go to stdout
    (target / "weights.npz").unlink()
    return target


def feature_config(info: ModelInfo) -> dict[str, int]:
    return {
        "feature_size": info.dimensions.n_mels, "sampling_rate": 16_000, "hop_length": 160, "n_fft": 400,
        "chunk_length": 30, "n_samples": 480_000, "nb_max_frames": 3000,
    }  # fmt: skip


def generation_config(info: ModelInfo) -> dict[str, Any]:
    """Named as transformers names it."""
    tokenizer = tokenizer_of(info)
    known = model_config(info)
    several = {
        "task_to_id": {"transcribe": tokenizer.transcribe, "translate": tokenizer.translate},
        "lang_to_id": {
            f"<|{code}|>": token
            for code, token in zip(tokenizer.all_language_codes, tokenizer.all_language_tokens, strict=True)
        },
    }
    return {
        "alignment_heads": alignment_heads(info),
        "begin_suppress_tokens": known["suppress_ids_begin"],
        "bos_token_id": tokenizer.eot,
        "decoder_start_token_id": tokenizer.sot,
        "eos_token_id": tokenizer.eot,
        "is_multilingual": info.is_multilingual,
        "max_initial_timestamp_index": 50,  # 1 s
        "max_length": info.dimensions.n_text_ctx,
        "no_timestamps_token_id": tokenizer.no_timestamps,
        "pad_token_id": tokenizer.eot,
        "prev_sot_token_id": tokenizer.sot_prev,
        "suppress_tokens": known["suppress_ids"],
        **(several if info.is_multilingual else {}),
    }


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False))
