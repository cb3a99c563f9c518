"""The other projects: what each is called in the tables, at which precision, and how its process is started."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from benchmarks import faster_whisper_model, openvino_folder, whisper_cpp_model
from whisper_core.models.catalogue import model_info

PACKAGES = ("faster-whisper", "ctranslate2", "pywhispercpp", "openvino-genai")
_ASK_VERSIONS = """
import importlib.metadata, json, sys
found = {each.metadata["Name"]: each.version for each in importlib.metadata.distributions()}
print(json.dumps({name: found[name] for name in sys.argv[1:] if name in found}))
"""


class Precision(StrEnum):
    FP32 = "fp32"
    INT8 = "int8"


@dataclass(frozen=True)
class Source:
    """What a peer's model is made from, a folder to make it in, and the interpreter that the peer's process runs in."""

    model: str
    models_dir: Path
    scratch: Path
    python: str


@dataclass(frozen=True)
class Peer:
    """package: what it needs in the peers' environment; None: it is in this project's own.
    command: makes the model's files and tells the module of the process and its arguments."""

    name: str
    precision: Precision
    package: str | None
    command: Callable[[Source], tuple[str, ...]]


def _openai_whisper(source: Source) -> tuple[str, ...]:
    return ("benchmarks.run_openai_whisper", source.model, str(source.models_dir))


def _faster_whisper(compute_type: str, batch_size: int | None = None) -> Callable[[Source], tuple[str, ...]]:
    batch = () if batch_size is None else ("--batch-size", str(batch_size))

    def command(source: Source) -> tuple[str, ...]:
        folder = faster_whisper_model.make_folder(source.model, source.models_dir, source.scratch / "faster-whisper")
        return ("benchmarks.run_faster_whisper", str(folder), "--compute-type", compute_type, *batch)

    return command


def _whisper_cpp(source: Source) -> tuple[str, ...]:
    file = whisper_cpp_model.make_file(source.model, source.models_dir, source.scratch / "whisper-cpp")
    language = ("--any-language",) if model_info(source.model).is_multilingual else ()
    return ("benchmarks.run_whisper_cpp", str(file), *language)


def _openvino(source: Source) -> tuple[str, ...]:
    folder = openvino_folder.make_folder(source.model, source.models_dir, source.scratch / "openvino", source.python)
    return ("benchmarks.run_openvino", str(folder))


PEERS = (
    Peer("openai-whisper", Precision.FP32, None, _openai_whisper),
    Peer("faster-whisper", Precision.FP32, "faster-whisper", _faster_whisper("float32")),
    Peer("faster-whisper, batches of 16", Precision.FP32, "faster-whisper", _faster_whisper("float32", 16)),
    Peer("faster-whisper", Precision.INT8, "faster-whisper", _faster_whisper("int8")),
    Peer("faster-whisper, batches of 8", Precision.INT8, "faster-whisper", _faster_whisper("int8", 8)),
    Peer("faster-whisper, batches of 16", Precision.INT8, "faster-whisper", _faster_whisper("int8", 16)),
    Peer("whisper.cpp, q8_0", Precision.INT8, "pywhispercpp", _whisper_cpp),
    Peer("OpenVINO GenAI", Precision.INT8, "openvino-genai", _openvino),
)
OPENAI = PEERS[0].name


def installed_versions(python: str | None) -> dict[str, str]:
    """Of PACKAGES, by their names; of no environment: none."""
    if python is None:
        return {}
    answer = subprocess.run([python, "-c", _ASK_VERSIONS, *PACKAGES], check=True, capture_output=True, text=True)
    found: dict[str, str] = json.loads(answer.stdout)
    return found


def available(precision: Precision, versions: Mapping[str, str]) -> tuple[Peer, ...]:
    """Those whose package is installed."""
    return tuple(
        peer for peer in PEERS if peer.precision is precision and (peer.package is None or peer.package in versions)
    )
