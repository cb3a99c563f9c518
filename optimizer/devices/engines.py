"""The engines by name: those of the server, and those that other packages bring."""

from __future__ import annotations

from importlib.util import find_spec

from whisper_core.common.extensions import Seam, load, refused
from whisper_core.ctranslate2_engine.spec import CTRANSLATE2
from whisper_core.worker.engine_spec import EngineSpec

BATCH = EngineSpec("whisper_core.engine.batch_engine:BatchEngine", holds_slots=True, has_int8_models=True)
REFERENCE = EngineSpec("whisper_core.reference.engine:ReferenceEngine")
ENGINES = {"batch": BATCH, "reference": REFERENCE, "ctranslate2": CTRANSLATE2}


def engine_named(name: str) -> EngineSpec:
    """name: of ENGINE. Raises InvalidSettingsError for an engine that cannot be used.

    Its factory is not imported here: that is for the device's process, and may load torch.
    """
    spec = ENGINES.get(name) or load(Seam.ENGINE, name)
    if not isinstance(spec, EngineSpec):
        raise refused(Seam.ENGINE, name, "it is no EngineSpec")
    module, colon, _ = spec.factory.partition(":")
    if not colon:
        raise refused(Seam.ENGINE, name, f"its factory {spec.factory!r} is not written as module:callable")
    for needed in (module, *spec.requires):
        if not _is_there(needed):
            hint = f" (run {spec.install})" if spec.install else ""
            raise refused(Seam.ENGINE, name, f"the package {needed.partition('.')[0]} is not installed{hint}")
    return spec


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # of the package that the module is in
        return False
