"""The models that one server knows. Whoever has to look a model up by its name is given the server's registry."""

from __future__ import annotations

from errors import UnknownModelError
from whisper_core.models.catalogue import MODELS, ModelInfo, model_info


class ModelRegistry:
    """Any thread. Imports no torch."""

    def info(self, name: str) -> ModelInfo:
        """The model with that name or alias. Raises UnknownModelError."""
        return model_info(name)

    def find(self, name: str) -> ModelInfo | None:
        """The same; None for a name that no model has."""
        try:
            return self.info(name)
        except UnknownModelError:
            return None

    def models(self) -> tuple[ModelInfo, ...]:
        """Every model that can be asked for, smallest first."""
        return tuple(MODELS.values())
