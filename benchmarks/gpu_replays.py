"""How long a GPU takes for each graph that is captured when a model is loaded: replayed alone, timed by events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.gpu_models import FilledSlots, dimensions_of, full_limit, on_decoder_stream, placed
from benchmarks.gpu_part import Cell, Part
from benchmarks.gpu_timeline import Timeline, passes_in
from whisper_core.engine.loaded_model import LoadedModel
from whisper_core.formats.dimensions import ModelDimensions

FIRST_STEPS = 20  # so that rows have some text behind them
REPLAYS = {"step": 15, "prompt": 10, "encode": 5, "language": 10}  # steps of nine sizes take 135 of 224 tokens
PROMPT_TOKENS = {8: 0, 64: 40, 256: 223}  # of text, by the length that the graph computes
_FP16 = 2


def measure_replays(part: Part) -> None:
    for name in part.models:
        if part.budget.allows(15):
            replay_model(part, name)
        else:
            part.report.left_out(f"the graphs of {name}")


def replay_model(part: Part, name: str) -> None:
    """In a function of its own, so that its memory is free for the next one."""
    model = placed(part, name)
    timeline = Timeline(part.is_trial)
    with on_decoder_stream(part), passes_in(timeline, part.is_trial):
        slots = FilledSlots(LoadedModel(model), full_limit(part))
        slots.fill(PROMPT_TOKENS[64])
        for _ in range(FIRST_STEPS):
            slots.batch.step()
        replay_all(part, name, slots, timeline)


def replay_all(part: Part, name: str, slots: FilledSlots, timeline: Timeline) -> None:
    """Prompts last: what was uploaded for one size must not be read by the graph of another."""
    keys: dict[str, list[Any]] = {"step": [], "encode": [], "language": [], "prompt": []}
    for key in timeline.prepared:
        keys[key[0]].append(key)
    for key in sorted(keys["step"], key=lambda key: key[2]):
        read = step_bytes(dimensions_of(part, name), key[2])
        _replay(part, f"{name}: steps", key, timeline, {"slots": key[2]}, read)
    for key in sorted(keys["encode"] + keys["language"]):
        _replay(part, f"{name}: encoder", key, timeline, {"": key[0], "windows": key[1]})
    for key in sorted(keys["prompt"], key=lambda key: (key[3], key[2])):
        *_, windows, length = key
        slots.read_again(windows, PROMPT_TOKENS[length])
        _replay(part, f"{name}: prompts", key, timeline, {"positions": length, "windows": windows})


def _replay(
    part: Part, title: str, key: Any, timeline: Timeline, about: Mapping[str, Cell], read_bytes: int = 0
) -> None:
    """read_bytes: that the pass has to read at least; 0 where it is bound by arithmetic."""
    device_s, host_s = timeline.replay_s(key, 1 if part.is_trial else REPLAYS[key[0]])
    times = {"ms": 1e3 * device_s, "launch, host, µs": 1e6 * host_s}
    bandwidth = {"read, TB/s": read_bytes / device_s / 1e12} if read_bytes else {}
    part.report.row(title, {**about, **times, **bandwidth})


def step_bytes(dims: ModelDimensions, slots: int) -> int:
    """Weights of the decoder, and keys and values of the windows' sound. The text's are few."""
    layers, state = dims.n_text_layer, dims.n_text_state
    weights = 14 * layers * state**2 + dims.n_vocab * state  # the cross-attention's keys and values are made before
    return _FP16 * (weights + slots * 2 * layers * dims.n_audio_ctx * state)
