"""Which of our models a client means, that knows OpenAI's names or those of weights published elsewhere."""

from __future__ import annotations

import re
from contextlib import suppress

from errors import UnknownModelError
from web.http.context import current_system

WHISPER_1 = "whisper-1"  # OpenAI's only name for Whisper, and what most clients send
_OPENAIS_NAME = re.compile(r"whisper-1|gpt-[\w.-]*transcribe[\w.-]*")
_PREFIXES = ("openai/whisper-", "Systran/faster-whisper-", "whisper-")


def own_model(asked: str) -> str:
    """Our name of the model that was asked for; the server's default for a model of OpenAI's, and for no name.

    Raises UnknownModelError.
    """
    system = current_system()
    if not asked or _OPENAIS_NAME.fullmatch(asked):
        return system.default_model()
    models = system.admission.models
    for prefix in _PREFIXES:
        if asked.startswith(prefix):
            with suppress(UnknownModelError):
                return models.info(asked.removeprefix(prefix)).name
    return models.info(asked).name
