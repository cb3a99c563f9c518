"""What this server says that it can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wyoming.info import AsrModel, AsrProgram, Attribution, Info

from version import PRODUCT_NAME, __version__

if TYPE_CHECKING:
    from web.http.system_port import SystemPort

_OPENAI = Attribution(name="OpenAI", url="https://github.com/openai/whisper")
_SOMEBODY = Attribution(name="", url="")


def description(system: SystemPort) -> Info:
    """The default model first, then the others whose weights are here."""
    default = system.default_model()
    names = [model["name"] for model in system.models()["models"] if model["is_available"]]
    models = [_model(system, name) for name in dict.fromkeys([default, *names])]
    program = AsrProgram(
        name=PRODUCT_NAME,
        description="openai-whisper with a queue",
        attribution=_OPENAI,
        installed=True,
        version=__version__,
        models=models,
    )
    return Info(asr=[program])


def _model(system: SystemPort, name: str) -> AsrModel:
    info = system.admission.models.info(name)
    return AsrModel(
        name=name,
        description=name,
        attribution=_SOMEBODY if info.is_brought else _OPENAI,
        installed=True,
        version=None,
        languages=list(info.languages),
    )
