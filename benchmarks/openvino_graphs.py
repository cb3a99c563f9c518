"""Whisper as the two models of OpenVINO's that its WhisperPipeline reads, with int8 weights; and the tokenizer's.

    python -m benchmarks.openvino_graphs FOLDER

Runs in the benchmark's own environment. FOLDER holds what openvino_folder.py wrote: `weights.npz`, by openai-whisper's
names, and `tokenizer.json`. The graphs take and give what those do that optimum-intel exports.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino
import openvino.opset15 as ops
from openvino.op.util import Variable, VariableInfo
from openvino_tokenizers import convert_tokenizer
from transformers import PreTrainedTokenizerFast

WIDTH = 64  # numbers of a head, in every model
FRAMES = 3000  # 30 s

Weights = Mapping[str, np.ndarray]
Node = Any  # of OpenVINO's, which are not typed
Pair = tuple[Node, Node]  # keys and values


class Network:
    """What both halves are built from."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def constant(self, name: str) -> Node:
        return ops.constant(self._weights[name], name=name)

    def layers(self, half: str) -> int:
        return 1 + max(int(name.split(".")[2]) for name in self._weights if name.startswith(f"{half}.blocks."))

    def linear(self, x: Node, name: str) -> Node:
        y = ops.matmul(x, self.constant(f"{name}.weight"), False, True)
        return ops.add(y, self.constant(f"{name}.bias")) if f"{name}.bias" in self._weights else y

    def norm(self, x: Node, name: str) -> Node:
        y = ops.mvn(x, ops.constant(np.array([-1])), True, 1e-5, "inside_sqrt")
        return ops.add(ops.multiply(y, self.constant(f"{name}.weight")), self.constant(f"{name}.bias"))

    def mlp(self, x: Node, block: str) -> Node:
        y = ops.gelu(self.linear(self.norm(x, f"{block}.mlp_ln"), f"{block}.mlp.0"), "erf")
        return ops.add(x, self.linear(y, f"{block}.mlp.2"))

    def heads(self, x: Node) -> Node:
        """(rows, positions, state) to (rows, heads, positions, WIDTH)"""
        split = ops.reshape(x, np.array([0, 0, -1, WIDTH]), True)
        return ops.transpose(split, np.array([0, 2, 1, 3]))

    def attention(self, x: Node, attended: Pair, name: str, mask: Node | None = None) -> Node:
        """attended: keys and values, split into heads."""
        y = ops.scaled_dot_product_attention(self.heads(self.linear(x, f"{name}.query")), *attended, mask)
        joined = ops.reshape(ops.transpose(y, np.array([0, 2, 1, 3])), np.array([0, 0, -1]), True)
        return self.linear(joined, f"{name}.out")

    def keys_and_values(self, x: Node, name: str) -> Pair:
        key, value = (self.heads(self.linear(x, f"{name}.{part}")) for part in ("key", "value"))
        return key, value


def encoder(weights: Weights) -> openvino.Model:
    net = Network(weights)
    n_mels = weights["encoder.conv1.weight"].shape[1]
    features = ops.parameter([-1, n_mels, FRAMES], np.float32, name="input_features")
    x = features
    for name, stride in (("encoder.conv1", 1), ("encoder.conv2", 2)):
        convolved = ops.convolution(x, net.constant(f"{name}.weight"), [stride], [1], [1], [1])
        x = ops.gelu(ops.add(convolved, ops.constant(weights[f"{name}.bias"][None, :, None])), "erf")
    x = ops.add(ops.transpose(x, np.array([0, 2, 1])), net.constant("encoder.positional_embedding"))
    for layer in range(net.layers("encoder")):
        block = f"encoder.blocks.{layer}"
        normed = net.norm(x, f"{block}.attn_ln")
        x = ops.add(x, net.attention(normed, net.keys_and_values(normed, f"{block}.attn"), f"{block}.attn"))
        x = net.mlp(x, block)
    return _model([net.norm(x, "encoder.ln_post")], ["last_hidden_state"], [], [features])


def decoder(weights: Weights) -> openvino.Model:
    """Keys and values are the model's state: it is asked for the new tokens only, and for `encoder_hidden_states` at
    the first step of a window."""
    net = Network(weights)
    state = weights["decoder.positional_embedding"].shape[1]
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    sound = ops.parameter([-1, -1, state], np.float32, name="encoder_hidden_states")
    beams = ops.parameter([-1], np.int32, name="beam_idx")
    positions = ops.parameter([-1], np.int64, name="cache_position")
    memory = Memory(ids, beams, state)
    embedding = net.constant("decoder.token_embedding.weight")
    axis = ops.constant(np.array(0))
    placed = ops.gather(net.constant("decoder.positional_embedding"), positions, axis)
    x = ops.add(ops.gather(embedding, ids, axis), placed)
    mask = None
    for layer in range(net.layers("decoder")):
        block = f"decoder.blocks.{layer}"
        normed = net.norm(x, f"{block}.attn_ln")
        own = memory.grown(net.keys_and_values(normed, f"{block}.attn"), f"past.{layer}")
        mask = mask or _causal(own[0], positions)
        x = ops.add(x, net.attention(normed, own, f"{block}.attn", mask))
        cross = memory.kept(net.keys_and_values(sound, f"{block}.cross_attn"), f"cross.{layer}")
        x = ops.add(x, net.attention(net.norm(x, f"{block}.cross_attn_ln"), cross, f"{block}.cross_attn"))
        x = net.mlp(x, block)
    logits = ops.matmul(net.norm(x, "decoder.ln"), embedding, False, True)
    return _model([logits], ["logits"], memory.sinks, [ids, sound, beams, positions])


class Memory:
    """The decoder's state, read and written in every step; `sinks` are the writes."""

    def __init__(self, ids: Node, beams: Node, state: int) -> None:
        self._beams = beams
        rows = ops.gather(ops.shape_of(ids), ops.constant(np.array([0])), ops.constant(np.array(0)))
        shape = ops.concat([rows, ops.constant(np.array([state // WIDTH, 0, WIDTH]))], 0)
        self._empty = ops.broadcast(ops.constant(np.float32(0)), shape)
        self._shape = openvino.PartialShape([-1, state // WIDTH, -1, WIDTH])
        self.sinks: list[Node] = []

    def grown(self, new: Pair, name: str) -> Pair:
        """Earlier tokens' and the new ones'."""
        key, value = new
        return self._grown(key, f"{name}.key"), self._grown(value, f"{name}.value")

    def kept(self, first: Pair, name: str) -> Pair:
        """Worked out in the first step after a reset only: what is before a variable gives it its first value."""
        key, value = first
        return self._kept(key, f"{name}.key"), self._kept(value, f"{name}.value")

    def _grown(self, new: Node, name: str) -> Node:
        variable = self._variable(name)
        past = ops.gather(ops.read_value(self._empty, variable), self._beams, ops.constant(np.array(0)))
        both = ops.concat([past, new], 2)
        self.sinks.append(ops.assign(both, variable))
        return both

    def _kept(self, first: Node, name: str) -> Node:
        variable = self._variable(name)
        value = ops.read_value(first, variable)
        self.sinks.append(ops.assign(value, variable))
        return value

    def _variable(self, name: str) -> Variable:
        info = VariableInfo()
        info.data_shape, info.data_type, info.variable_id = self._shape, openvino.Type.f32, name
        return Variable(info)


def _causal(key: Node, positions: Node) -> Node:
    """What each new token may look at: itself and what is before it."""
    length = ops.squeeze(ops.gather(ops.shape_of(key), ops.constant(np.array([2])), ops.constant(np.array(0))))
    places = ops.range(ops.constant(np.int64(0)), length, ops.constant(np.int64(1)), "i64")
    seen = ops.less_equal(places, ops.unsqueeze(positions, np.array([1])))
    return ops.unsqueeze(seen, np.array([0, 1]))


def _model(outputs: list[Node], names: list[str], sinks: list[Node], inputs: list[Node]) -> openvino.Model:
    model = openvino.Model([ops.result(output) for output in outputs], sinks, inputs, "whisper")
    for port, name in zip(model.outputs, names, strict=True):
        port.get_tensor().set_names({name})
    for port, parameter in zip(model.inputs, inputs, strict=True):
        port.get_tensor().set_names({parameter.get_friendly_name()})
    return model


def main() -> None:
    folder = Path(sys.argv[1])
    with np.load(folder / "weights.npz") as file:
        weights = {name: file[name] for name in file.files}
    for name, build in (("encoder", encoder), ("decoder", decoder)):
        model = nncf.compress_weights(build(weights), mode=nncf.CompressWeightsMode.INT8_ASYM)
        openvino.save_model(model, folder / f"openvino_{name}_model.xml")
    special = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(special)
    for name, model in zip(
        ("tokenizer", "detokenizer"), convert_tokenizer(tokenizer, with_detokenizer=True), strict=True
    ):
        openvino.save_model(model, folder / f"openvino_{name}.xml")


if __name__ == "__main__":
    main()
